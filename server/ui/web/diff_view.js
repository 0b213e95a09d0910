// diff_view.js — rows of a diff as a table.
import { h } from './dom.js';

const SIGN = { same: ' ', add: '+', del: '−', note: '' };
/** Rows shown of one file at first. */
const ROWS_MAX = 2000;

/** A table of rows as diff.js makes them; long ones end with a button that shows the rest. */
export function diffTable(rows) {
  const body = h('tbody');
  const table = h('table', { class: 'diff' }, body);
  let shown = 0;
  const more = h('button', { type: 'button', class: 'quiet', on: { click: () => grow() } });
  const grow = () => {
    for (const end = Math.min(rows.length, shown + ROWS_MAX); shown < end; shown += 1)
      body.append(rowNode(rows[shown]));
    more.hidden = shown === rows.length;
    more.textContent = `Show ${Math.min(ROWS_MAX, rows.length - shown)} more lines`;
  };
  grow();
  return h('div', { class: 'diff-wrap', tabIndex: 0 }, table, more);
}

function rowNode({ kind, text, old, new: now }) {
  return h(
    'tr',
    { class: `row-${kind}` },
    h('td', { class: 'line-number' }, old ?? ''),
    h('td', { class: 'line-number' }, now ?? ''),
    h('td', { class: 'sign', 'aria-hidden': 'true' }, SIGN[kind]),
    h(
      'td',
      { class: 'line' },
      text,
      kind === 'add' || kind === 'del'
        ? h('span', { class: 'sr-only' }, kind === 'add' ? ' (added)' : ' (removed)')
        : null,
    ),
  );
}

/** The hunks of one file. */
export function hunksView(hunks) {
  if (!hunks.length) return h('div', { class: 'caption' }, 'No lines to show.');
  return h(
    'div',
    null,
    hunks.map((hunk) => [
      hunk.header ? h('div', { class: 'hunk-head' }, hunk.header) : h('div', { class: 'hunk-gap' }),
      diffTable(hunk.rows),
    ]),
  );
}
