// sse.js — server-sent events over fetch: a parser that is indifferent to where chunks are cut, and
// a follower that connects again at its cursor.

/** Where `mark` is next, or the end of the text. */
function indexOrEnd(text, mark, from) {
  const at = text.indexOf(mark, from);
  return at === -1 ? text.length : at;
}

/** Takes bytes in any pieces, gives whole events. */
export class SseParser {
  #decoder = new TextDecoder();
  #rest = '';
  #id = null;
  #type = '';
  #data = [];

  /** The events that `bytes` complete: `{id, type, data}`; `id` is the last one seen, as it stands. */
  feed(bytes) {
    this.#rest += this.#decoder.decode(bytes, { stream: true });
    const text = this.#rest;
    const events = [];
    let from = 0;
    let cr = -1; // the next one, looked for only when passed: most streams have none
    for (;;) {
      if (cr < from) cr = indexOrEnd(text, '\r', from);
      const lf = indexOrEnd(text, '\n', from);
      const end = Math.min(lf, cr);
      // A CR at the end of what is there may be the half of a CRLF.
      if (end === text.length || (end === cr && cr === text.length - 1)) break;
      const event = this.#line(text.slice(from, end));
      if (event) events.push(event);
      from = end === cr && lf === cr + 1 ? lf + 1 : end + 1;
    }
    this.#rest = text.slice(from);
    return events;
  }

  /** Takes a line without its end; an empty one completes an event, if it has data. */
  #line(line) {
    if (line !== '') {
      this.#field(line);
      return null;
    }
    const event = { id: this.#id, type: this.#type || 'message', data: this.#data.join('\n') };
    const complete = this.#data.length > 0;
    this.#data = [];
    this.#type = '';
    return complete ? event : null;
  }

  #field(line) {
    const colon = line.indexOf(':');
    if (colon === 0) return; // a comment: the heartbeat
    const name = colon === -1 ? line : line.slice(0, colon);
    let value = colon === -1 ? '' : line.slice(colon + 1);
    if (value.startsWith(' ')) value = value.slice(1);
    if (name === 'data') this.#data.push(value);
    else if (name === 'event') this.#type = value;
    else if (name === 'id' && !value.includes('\0')) this.#id = value;
  }
}

/** Above this time without a byte (the server sends one each 15 s) the connection counts as lost. */
const SILENCE_MAX_MS = 40_000;
const RETRY_FIRST_MS = 250;
const RETRY_MAX_MS = 5_000;

/**
 * Follows a stream until `signal` is aborted or the server refuses it for good.
 *
 * `open(lastId, signal)` makes the request and resolves with its Response; `onEvents(batch)` is given
 * what each chunk completed; `onState` is told `connecting`, `live`, `lost`, or `refused` with the
 * status. No event is given twice: the cursor is the id of the last one that was given.
 */
export async function follow({ open, onEvents, onState, lastId = '', signal }) {
  let failures = 0;
  while (!signal.aborted) {
    onState(failures ? 'lost' : 'connecting');
    const connection = new AbortController();
    const leave = () => connection.abort();
    signal.addEventListener('abort', leave);
    let watchdog = setTimeout(leave, SILENCE_MAX_MS);
    try {
      const response = await open(lastId, connection.signal);
      if (response.status === 204) return onState('refused', 204);
      if (!response.ok) {
        if (response.status < 500 && response.status !== 429 && response.status !== 408) {
          return onState('refused', response.status);
        }
        throw new Error(`status ${response.status}`);
      }
      onState('live');
      const parser = new SseParser();
      const reader = response.body.getReader();
      for (;;) {
        const { done, value } = await reader.read();
        if (done) break;
        clearTimeout(watchdog);
        watchdog = setTimeout(leave, SILENCE_MAX_MS);
        failures = 0;
        const batch = parser.feed(value);
        if (batch.length && !signal.aborted) {
          onEvents(batch);
          lastId = batch.at(-1).id ?? lastId;
        }
      }
    } catch {
      if (signal.aborted) return;
    } finally {
      clearTimeout(watchdog);
      signal.removeEventListener('abort', leave);
      connection.abort();
    }
    failures += 1;
    onState('lost');
    await pause(Math.min(RETRY_FIRST_MS * 2 ** (failures - 1), RETRY_MAX_MS), signal);
  }
}

/** Waits; who comes back to the page or to the network is not kept waiting. */
function pause(ms, signal) {
  return new Promise((resolve) => {
    const over = () => {
      clearTimeout(timer);
      for (const type of ['online', 'focus']) globalThis.removeEventListener?.(type, over);
      signal.removeEventListener('abort', over);
      resolve();
    };
    const timer = setTimeout(over, ms);
    for (const type of ['online', 'focus']) globalThis.addEventListener?.(type, over);
    signal.addEventListener('abort', over);
  });
}
