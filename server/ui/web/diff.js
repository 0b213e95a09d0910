// diff.js — unified diffs into rows, and rows out of two texts.

const HUNK = /^@@ -(\d+)(?:,(\d+))? \+(\d+)(?:,(\d+))? @@(.*)$/;
/** Cells of the table that two texts' middles may take; above it one is shown removed, the other added. */
const TABLE_MAX = 250_000;

/** Hunks of one file's unified diff: `{header, rows: [{kind: same|add|del|note, text, old, new}]}`. */
export function parseHunks(patch) {
  const hunks = [];
  let hunk = null;
  let before = 0;
  let after = 0;
  let left = 0; // lines the hunk still has on either side; "--- " inside of it is content
  let right = 0;
  for (const line of patch.split('\n')) {
    const found = left > 0 || right > 0 ? null : HUNK.exec(line);
    if (found) {
      before = Number(found[1]);
      after = Number(found[3]);
      left = Number(found[2] ?? 1);
      right = Number(found[4] ?? 1);
      hunk = { header: found[5].trim(), rows: [] };
      hunks.push(hunk);
    } else if (hunk && line.startsWith('\\')) {
      hunk.rows.push({ kind: 'note', text: line.slice(2), old: null, new: null });
    } else if (hunk && (left > 0 || right > 0)) {
      const text = line.slice(1);
      if (line[0] === '+') {
        hunk.rows.push({ kind: 'add', text, old: null, new: after });
        after += 1;
        right -= 1;
      } else if (line[0] === '-') {
        hunk.rows.push({ kind: 'del', text, old: before, new: null });
        before += 1;
        left -= 1;
      } else {
        hunk.rows.push({ kind: 'same', text, old: before, new: after });
        before += 1;
        after += 1;
        left -= 1;
        right -= 1;
      }
    }
  }
  return hunks;
}

/** Rows that lead from one text to the other, with `context` same lines around what differs. */
export function diffTexts(oldText, newText, context = 3) {
  const a = lines(oldText);
  const b = lines(newText);
  let head = 0;
  while (head < a.length && head < b.length && a[head] === b[head]) head += 1;
  let tail = 0;
  while (tail < a.length - head && tail < b.length - head && a.at(-1 - tail) === b.at(-1 - tail)) tail += 1;
  const rows = [];
  const same = (i, j) => rows.push({ kind: 'same', text: a[i], old: i + 1, new: j + 1 });
  for (let i = Math.max(0, head - context); i < head; i += 1) same(i, i);
  middle(a, b, head, a.length - tail, b.length - tail, rows, same);
  for (let k = 0; k < Math.min(context, tail); k += 1) same(a.length - tail + k, b.length - tail + k);
  return rows;
}

function lines(text) {
  if (!text) return [];
  const parts = text.split('\n');
  if (parts.at(-1) === '') parts.pop();
  return parts;
}

/** The longest common subsequence of a[from, aEnd) and b[from, bEnd), as rows. */
function middle(a, b, from, aEnd, bEnd, rows, same) {
  const del = (i) => rows.push({ kind: 'del', text: a[i], old: i + 1, new: null });
  const add = (j) => rows.push({ kind: 'add', text: b[j], old: null, new: j + 1 });
  const height = aEnd - from;
  const width = bEnd - from;
  let i = from;
  let j = from;
  if (height * width <= TABLE_MAX) {
    const row = width + 1;
    const table = new Uint32Array((height + 1) * row);
    for (let y = height - 1; y >= 0; y -= 1) {
      for (let x = width - 1; x >= 0; x -= 1) {
        table[y * row + x] =
          a[from + y] === b[from + x]
            ? table[(y + 1) * row + x + 1] + 1
            : Math.max(table[(y + 1) * row + x], table[y * row + x + 1]);
      }
    }
    while (i < aEnd && j < bEnd) {
      const at = (i - from) * row + (j - from);
      if (a[i] === b[j]) same(i++, j++);
      else if (table[at + row] >= table[at + 1]) del(i++);
      else add(j++);
    }
  }
  while (i < aEnd) del(i++);
  while (j < bEnd) add(j++);
}
