// words.js — numbers, times and names as people read them.
import { h } from './dom.js';

export function plural(count, word) {
  return count === 1 ? word : `${word}s`;
}

export function duration(ms) {
  if (ms < 1000) return `${ms} ms`;
  const seconds = ms / 1000;
  if (seconds < 60) return `${seconds.toFixed(1)} s`;
  const minutes = Math.floor(seconds / 60);
  return minutes < 60
    ? `${minutes} min ${Math.round(seconds % 60)} s`
    : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

export function ago(time, now = Date.now()) {
  const seconds = Math.max(0, (now - Date.parse(time)) / 1000);
  if (seconds < 45) return 'now';
  if (seconds < 3600) return `${Math.max(1, Math.round(seconds / 60))} min`;
  if (seconds < 86_400) return `${Math.round(seconds / 3600)} h`;
  return seconds < 7 * 86_400 ? `${Math.round(seconds / 86_400)} d` : new Date(time).toLocaleDateString();
}

/** The end of a long path; agents name files absolutely, below a worktree's long folder. */
export function shortPath(path) {
  const text = String(path ?? '');
  const inWorktree = /\/worktrees\/[0-9a-z]{26}\/(.+)$/.exec(text);
  return inWorktree ? inWorktree[1] : text;
}

export function baseName(path) {
  return String(path ?? '')
    .replace(/\/+$/, '')
    .replace(/\.git$/, '')
    .split('/')
    .at(-1);
}

/** `+3 −1`, or `binary`. */
export function countsOf(file) {
  if (file.binary) return h('span', { class: 'counts' }, 'binary');
  return h(
    'span',
    { class: 'counts' },
    h('span', { class: 'plus' }, `+${file.additions ?? 0}`),
    h('span', { class: 'minus' }, `−${file.deletions ?? 0}`),
  );
}

const HUES = 8;

/** A name with a colour of its own; null is a person's own editing. */
export function agentBadge(agent) {
  let hash = 0;
  for (const char of agent ?? '') hash = (hash * 31 + char.codePointAt(0)) >>> 0;
  return h('span', { class: agent ? `badge hue-${hash % HUES}` : 'badge outside' }, agent ?? 'outside');
}
