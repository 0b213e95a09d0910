// presence.js — keeps a connection only while somebody looks: browsers allow six for one server, and
// each tab wants some.

/** A page that is hidden for so long lets go. */
const HIDDEN_MS = 5_000;

/**
 * Calls `run(signal)` when the page is seen; its signal is aborted when the page was hidden for a
 * while, and it is called again when the page is back. All of it ends with `signal`.
 */
export function whileSeen(run, signal) {
  let current = null;
  let timer = 0;
  const leave = () => {
    clearTimeout(timer);
    current?.abort();
    current = null;
  };
  const look = () => {
    clearTimeout(timer);
    if (document.hidden) {
      timer = setTimeout(leave, HIDDEN_MS);
    } else if (!current) {
      current = new AbortController();
      run(current.signal);
    }
  };
  document.addEventListener('visibilitychange', look, { signal });
  signal.addEventListener('abort', leave);
  look();
}
