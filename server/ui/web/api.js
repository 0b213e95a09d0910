// api.js — calls of berth's HTTP API with the token, and its problems as errors.
import { follow } from './sse.js';

/** What the server refused: `status`, `code`, `field`, `body` of the problem document. */
export class Problem extends Error {
  constructor(status, problem) {
    super(problem.detail || problem.title || `the server answered ${status}`);
    this.name = 'Problem';
    this.status = status;
    this.code = problem.code ?? '';
    this.field = problem.field ?? null;
    this.body = problem.body ?? null;
  }
}

const TRIES_MAX = 6;

/** A key for a request that must happen once however often it is sent. */
export function makeKey() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (b) => b.toString(16).padStart(2, '0')).join(
    '',
  );
}

export class Api {
  #token;
  #onDenied;

  /** `onDenied` is called when the token is refused. */
  constructor(token, onDenied) {
    this.#token = token;
    this.#onDenied = onDenied;
  }

  get(path) {
    return this.#json('GET', path);
  }
  send(method, path, body = {}, headers = {}) {
    return this.#json(method, path, body, headers);
  }
  remove(path) {
    return this.#json('DELETE', path);
  }
  async text(path) {
    const response = await this.#fetch('GET', path);
    return { text: await response.text(), truncated: response.headers.get('x-berth-truncated') === '1' };
  }

  /** A POST that is sent again while the network fails; its key makes it happen once. */
  async once(path, body) {
    const key = makeKey();
    for (let attempt = 1; ; attempt += 1) {
      try {
        return await this.send('POST', path, body, { 'Idempotency-Key': key });
      } catch (failure) {
        if (failure instanceof Problem || attempt === TRIES_MAX) throw failure;
        await new Promise((resolve) => setTimeout(resolve, 200 * 2 ** attempt));
      }
    }
  }

  /** Follows an event stream (see sse.js). */
  follow(path, options) {
    return follow({
      ...options,
      open: (lastId, signal) => this.#open(path, lastId, signal),
      onState: (state, status) => {
        if (state === 'refused' && status === 401) this.#onDenied();
        options.onState(state, status);
      },
    });
  }

  #open(path, lastId, signal) {
    const headers = { Accept: 'text/event-stream', Authorization: `Bearer ${this.#token}` };
    if (lastId) headers['Last-Event-ID'] = lastId;
    return fetch(path, { headers, signal, cache: 'no-store' });
  }

  async #json(method, path, body, headers) {
    const response = await this.#fetch(method, path, body, headers);
    return response.status === 204 ? null : response.json();
  }

  // Paths are relative, so that the page also works below a path of a proxy.
  async #fetch(method, path, body, headers = {}) {
    const response = await fetch(path, {
      method,
      headers: {
        Authorization: `Bearer ${this.#token}`,
        ...(body && { 'Content-Type': 'application/json' }),
        ...headers,
      },
      body: body === undefined ? undefined : JSON.stringify(body),
      cache: 'no-store',
    });
    if (response.ok) return response;
    const problem = await response.json().catch(() => ({}));
    if (response.status === 401) this.#onDenied();
    throw new Problem(response.status, problem);
  }
}

/** The path of a session's resource; each part is encoded. */
export function sessionPath(id, ...parts) {
  return ['v1/sessions', ...[id, ...parts].map(encodeURIComponent)].join('/');
}
