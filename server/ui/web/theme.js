// theme.js — light, dark, or as the system says.
const KEY = 'berth.theme';
const NEXT = { system: 'light', light: 'dark', dark: 'system' };

function show(name) {
  document.documentElement.dataset.theme = name;
}

export function theme() {
  return localStorage.getItem(KEY) ?? 'system';
}

/** Goes on to the next one and returns its name. */
export function nextTheme() {
  const next = NEXT[theme()] ?? 'system';
  localStorage.setItem(KEY, next);
  show(next);
  return next;
}

show(theme());
