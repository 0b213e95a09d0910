// A host of agents as people write one: the official SDK for ACP, node's http, an event stream a client.
//
//   node node_host.mjs AGENT [LOG]     LOG: append every event to this file before it is shown
//
// POST /sessions {"id"}          starts an agent and opens a session; 200 when it is there
// POST /sessions/ID/turns {"prompt"}   202; the end of the turn comes on the stream
// GET /sessions/ID/events        all events so far, then live; Last-Event-ID is honoured
import { client, methods, ndJsonStream, PROTOCOL_VERSION } from '@agentclientprotocol/sdk';
import { spawn } from 'node:child_process';
import { appendFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { Readable, Writable } from 'node:stream';

const [agent, log] = process.argv.slice(2);
const sessions = new Map();

class Session {
  events = [];
  readers = new Set();

  constructor(id) {
    this.id = id;
  }

  async open() {
    this.child = spawn(agent, [], { stdio: ['pipe', 'pipe', 'inherit'] });
    this.child.on('exit', (code, signal) => this.add('agent_exited', { code, signal }));
    const stream = ndJsonStream(Writable.toWeb(this.child.stdin), Readable.toWeb(this.child.stdout));
    this.connection = client({ name: 'node-host' })
      .onNotification(methods.client.session.update, ({ params }) => this.add('update', params.update))
      .onRequest(methods.client.session.requestPermission,
        () => ({ outcome: { outcome: 'cancelled' } }))
      .connect(stream);
    const context = this.connection.agent;
    await context.request(methods.agent.initialize, { protocolVersion: PROTOCOL_VERSION, clientCapabilities: {} });
    const made = await context.request(methods.agent.session.new, { cwd: process.cwd(), mcpServers: [] });
    this.sessionId = made.sessionId;
  }

  async prompt(text) {
    try {
      const { stopReason } = await this.connection.agent.request(methods.agent.session.prompt,
        { sessionId: this.sessionId, prompt: [{ type: 'text', text }] });
      this.add('turn_ended', { stopReason });
    } catch (error) {
      this.add('turn_ended', { error: String(error) });
    }
  }

  add(type, data) {
    const seq = this.events.length + 1;
    const frame = `id: ${seq}\nevent: ${type}\ndata: ${JSON.stringify(data)}\n\n`;
    this.events.push(frame);
    if (log) appendFileSync(log, JSON.stringify({ session: this.id, seq, type, data }) + '\n');
    for (const reader of this.readers) reader.write(frame);
  }

  follow(request, response) {
    response.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-cache' });
    response.flushHeaders();
    for (const frame of this.events.slice(Number(request.headers['last-event-id'] ?? 0))) response.write(frame);
    this.readers.add(response);
    response.on('close', () => this.readers.delete(response));
  }
}

async function bodyOf(request) {
  let text = '';
  for await (const chunk of request) text += chunk;
  return JSON.parse(text);
}

const server = createServer(async (request, response) => {
  const [, , id, what] = request.url.split('/');
  const answer = (status, value) => {
    const text = JSON.stringify(value);
    response.writeHead(status, { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) });
    response.end(text);
  };
  try {
    if (request.method === 'POST' && id === undefined) {
      const made = new Session((await bodyOf(request)).id);
      sessions.set(made.id, made);
      await made.open();
      return answer(200, { id: made.id });
    }
    const session = sessions.get(id);
    if (session === undefined) return answer(404, { error: 'no such session' });
    if (what === 'events') return session.follow(request, response);
    session.prompt((await bodyOf(request)).prompt);
    return answer(202, {});
  } catch (error) {
    return answer(500, { error: String(error) });
  }
});
server.listen(0, '127.0.0.1', () => {
  console.log(JSON.stringify({ url: `http://127.0.0.1:${server.address().port}` }));
});
