// toast.js — short messages at the edge of the page.
import { h } from './dom.js';

const TIME_MS = 6000;

/** Shows `text` for a while; `level` is info or error. */
export function toast(text, level = 'info') {
  const node = h('div', { class: `toast ${level}`, role: level === 'error' ? 'alert' : 'status' }, text);
  document.getElementById('toasts').append(node);
  setTimeout(() => node.remove(), TIME_MS);
}

/** Runs `action` and shows what goes wrong with it; whether it went well. */
export async function attempt(action) {
  try {
    await action();
    return true;
  } catch (problem) {
    toast(problem.message, 'error');
    return false;
  }
}
