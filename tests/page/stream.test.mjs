// The page's reader of server-sent events: chunk boundaries never matter, and a lost connection is
// taken up at the cursor.
import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import { once } from 'node:events';
import { test } from 'node:test';
import { follow, SseParser } from '../../server/ui/web/sse.js';

const STREAM =
  ': hello\r\nretry: 1000\n\nid: 1\nevent: update\ndata: {"a":"ü🚢"}\n\nid:2\rdata: one\rdata:two\r\rdata\nid: bad\0id\n\nid: 3\r\ndata: x\r\n\r\n: hb\n\nevent: lost, for it has no data\n\nid: 4\ndata:  y\n\nid: 5\ndata: not complete\n';
const EVENTS = [
  { id: '1', type: 'update', data: '{"a":"ü🚢"}' },
  { id: '2', type: 'message', data: 'one\ntwo' },
  { id: '2', type: 'message', data: '' },
  { id: '3', type: 'message', data: 'x' },
  { id: '4', type: 'message', data: ' y' },
];

function parse(pieces) {
  const parser = new SseParser();
  return pieces.flatMap((piece) => parser.feed(piece));
}

test('Cut into two anywhere, also inside of a character or a CRLF, the events are the same', () => {
  const bytes = new TextEncoder().encode(STREAM);
  for (let at = 0; at <= bytes.length; at += 1)
    assert.deepEqual(parse([bytes.subarray(0, at), bytes.subarray(at)]), EVENTS, `cut at ${at}`);
});

test('Byte by byte the events are the same', () => {
  assert.deepEqual(parse([...new TextEncoder().encode(STREAM)].map((byte) => Uint8Array.of(byte))), EVENTS);
});

test('Megabytes in one piece are read in a line of time', () => {
  const frame = `id: 1\nevent: update\ndata: ${'x'.repeat(200)}\n\n`;
  const bytes = new TextEncoder().encode(frame.repeat(40_000));
  const started = performance.now();
  assert.equal(parse([bytes]).length, 40_000);
  const took = performance.now() - started;
  console.log(
    `figure: ${(bytes.length / 1e6).toFixed(0)} MB of 40,000 events parsed in ${took.toFixed(0)} ms`,
  );
  assert.ok(took < 10_000, `${took} ms`);
});

/** A server that gives each connection what `script` says for it; collects the cursors it was asked for. */
async function serve(script) {
  const cursors = [];
  const server = createServer((request, response) => {
    cursors.push(request.headers['last-event-id'] ?? '');
    script(cursors.length, response);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const open = (lastId, signal) =>
    fetch(`http://127.0.0.1:${server.address().port}/`, {
      signal,
      headers: lastId ? { 'Last-Event-ID': lastId } : {},
    });
  return {
    cursors,
    open,
    close: () => {
      server.closeAllConnections();
      server.close();
    },
  };
}

test('After each loss it goes on behind the last event that it gave', async () => {
  const server = await serve((count, response) => {
    if (count === 2) return response.writeHead(503).end();
    response.writeHead(200, { 'Content-Type': 'text/event-stream' });
    if (count === 1)
      response.write('id: 1\ndata: a\n\nid: 2\ndata: b\n\nid: 3\ndata: half', () => response.destroy());
    if (count === 3) response.end('id: 3\ndata: whole\n\n');
    if (count === 4) response.write('id: 4\ndata: d\n\n');
  });
  const stop = new AbortController();
  const given = [];
  const states = [];
  await follow({
    open: server.open,
    signal: stop.signal,
    onState: (state) => states.push(state),
    onEvents: (batch) => {
      given.push(...batch.map(({ id, data }) => id + data));
      if (batch.at(-1).id === '4') stop.abort();
    },
  });
  server.close();
  assert.deepEqual(given, ['1a', '2b', '3whole', '4d']);
  assert.deepEqual(server.cursors, ['', '2', '2', '3']);
  assert.deepEqual([states[0], states.includes('lost'), states.at(-1)], ['connecting', true, 'live']);
});

test('A refusal ends it and says why', async () => {
  const server = await serve((count, response) => response.writeHead(404).end());
  const states = [];
  await follow({
    open: server.open,
    signal: new AbortController().signal,
    onEvents: () => {},
    onState: (...state) => states.push(state),
  });
  server.close();
  assert.deepEqual(states, [['connecting'], ['refused', 404]]);
  assert.equal(server.cursors.length, 1);
});
