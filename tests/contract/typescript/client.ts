// client.ts URL TOKEN REPOSITORY — a turn by the client that openapi-fetch makes out of the contract: a session is
// opened, prompted and followed, its question answered, its change read. Prints what came of it as JSON.
import createClient from "openapi-fetch";

import type { components, paths } from "./berth.js";

type Event = components["schemas"]["Event"];

async function* events(body: ReadableStream<Uint8Array>): AsyncGenerator<Event> {
  const decoder = new TextDecoder();
  let buffered = "";
  for await (const piece of body) {
    buffered += decoder.decode(piece, { stream: true });
    const frames = buffered.split("\n\n");
    buffered = frames.pop() ?? "";
    for (const frame of frames) {
      const data = frame.split("\n").find((line) => line.startsWith("data: "));
      if (data !== undefined) yield JSON.parse(data.slice(6)) as Event;
    }
  }
}

const [url, token, repository] = process.argv.slice(2);
if (url === undefined || token === undefined || repository === undefined) throw new Error("URL TOKEN REPOSITORY");
const berth = createClient<paths>({ baseUrl: url, headers: { Authorization: `Bearer ${token}` } });

const opened = await berth.POST("/v1/sessions", { body: { repository, permission: "ask" } });
if (opened.data === undefined) throw new Error(opened.error.detail);
const path = { session: opened.data.id };

const turn = await berth.POST("/v1/sessions/{session}/turns", {
  params: { path },
  body: { prompt: "say from typescript\nask write ts.txt hello" },
});
if (turn.data === undefined) throw new Error(turn.error.detail);

const stream = await berth.GET("/v1/sessions/{session}/events", {
  params: { path, query: { stream: "1" } },
  parseAs: "stream",
});
if (!stream.data) throw new Error("no stream");
const seen: string[] = [];
let text = "";
let state: components["schemas"]["TurnState"] | undefined;
for await (const event of events(stream.data as ReadableStream<Uint8Array>)) {
  seen.push(event.type);
  if (event.type === "update" && event.data.sessionUpdate === "agent_message_chunk") {
    text += (event.data.content as { text: string }).text;
  } else if (event.type === "interaction.opened") {
    const answered = await berth.POST("/v1/sessions/{session}/interactions/{interaction}", {
      params: { path: { ...path, interaction: event.data.id } },
      body: { kind: "allow_once" },
    });
    if (answered.data?.state !== "answered") throw new Error(answered.error?.detail);
  } else if (event.type === "turn.ended") {
    state = event.data.state;
  } else if (event.type === "change.recorded" && state !== undefined) {
    break;
  }
}

const change = await berth.GET("/v1/sessions/{session}/changes", { params: { path } });
const missing = await berth.GET("/v1/sessions/{session}", { params: { path: { session: "nobody" } } });
console.log(JSON.stringify({
  seen, text, state,
  files: change.data?.files.map((file) => file.path),
  code: missing.error?.code,
}));
