// session_list.js — how the sessions stand, as the server's watch stream tells it.
import { whileSeen } from './presence.js';

/** What is known: `rows` by id; `fresh` collects them anew between `reset` and `ready`. */
export function newList() {
  return { rows: new Map(), fresh: null };
}

/** Takes one event of the stream. Until a new list is whole, the old one stays. */
export function applyWatch(list, type, row, archived) {
  if (type === 'reset') list.fresh = new Map();
  if (type === 'session') {
    const rows = list.fresh ?? list.rows;
    if (row.state === 'deleted' || (row.state === 'archived' && !archived)) rows.delete(row.id);
    else rows.set(row.id, row);
  }
  if (type === 'ready' && list.fresh) {
    list.rows = list.fresh;
    list.fresh = null;
  }
}

/** The rows, newest first. */
export function sessionsOf(list) {
  return [...list.rows.values()].sort((a, b) =>
    a.created_at < b.created_at ? 1 : a.created_at > b.created_at ? -1 : a.id < b.id ? 1 : -1,
  );
}

/** Follows the stream while somebody looks; `onChange` is given the sessions, at most once a frame. */
export function followSessions(api, archived, onChange, signal) {
  const list = newList();
  let frame = 0;
  let lastId = '';
  const show = () => {
    frame = 0;
    if (!signal.aborted) onChange(sessionsOf(list));
  };
  const onEvents = (batch) => {
    for (const { id, type, data } of batch) {
      applyWatch(list, type, JSON.parse(data), archived);
      lastId = id ?? lastId;
    }
    if (!list.fresh) frame ||= requestAnimationFrame(show);
  };
  const path = `v1/watch${archived ? '?archived=1' : ''}`;
  whileSeen((seen) => api.follow(path, { lastId, signal: seen, onEvents, onState: () => {} }), signal);
}
