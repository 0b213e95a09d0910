// echo_agent.mjs — an ACP agent that sends what the prompt holds: each line is a session update as
// JSON, `{"ask": {...}}` (the params of a permission request), or `{"write": path, "text": ...}`.
import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';

const say = (message) => process.stdout.write(`${JSON.stringify({ jsonrpc: '2.0', ...message })}\n`);
const waiting = new Map(); // our requests
let folder = '.';
let requests = 0;

async function prompt({ sessionId, prompt: blocks }) {
  for (const line of blocks.at(-1).text.split('\n').filter(Boolean)) {
    const order = JSON.parse(line);
    if (order.ask) {
      requests += 1;
      say({ id: requests, method: 'session/request_permission', params: { sessionId, ...order.ask } });
      await new Promise((resolve) => waiting.set(requests, resolve));
    } else if (order.write) {
      mkdirSync(dirname(join(folder, order.write)), { recursive: true });
      writeFileSync(join(folder, order.write), order.text);
    } else {
      say({ method: 'session/update', params: { sessionId, update: order } });
    }
  }
  return { stopReason: 'end_turn', usage: { inputTokens: 1840, outputTokens: 412, totalTokens: 2252 } };
}

const METHODS = {
  initialize: async () => ({
    protocolVersion: 1,
    agentCapabilities: {},
    agentInfo: { name: 'echo', version: '1' },
  }),
  'session/new': async ({ cwd }) => {
    folder = cwd;
    return { sessionId: 'echo-1' };
  },
  'session/prompt': prompt,
};

createInterface({ input: process.stdin }).on('line', async (line) => {
  const { id, method, params } = JSON.parse(line);
  if (method === undefined) waiting.get(id)?.();
  else if (id !== undefined) say({ id, result: (await METHODS[method]?.(params)) ?? {} });
});
