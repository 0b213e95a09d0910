// Markdown and diffs of the web page, as trees and rows.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { diffTexts, parseHunks } from '../../server/ui/web/diff.js';
import { parseInline, parseMarkdown, settledLength } from '../../server/ui/web/markdown.js';

const types = (text) => parseMarkdown(text).map(({ type }) => type);

test('Blocks are told apart', () => {
  const text =
    '# Title\n\nwords\nmore\n\n```js\nlet x = "<b>";\n\n# no heading\n```\n> quoted\n> - item\n\n---\n| a | b |\n|---|--:|\n| 1 | 2 |\n';
  assert.deepEqual(types(text), ['heading', 'paragraph', 'code', 'quote', 'rule', 'table']);
  const [, , code, quote, , table] = parseMarkdown(text);
  assert.equal(code.text, 'let x = "<b>";\n\n# no heading');
  assert.equal(code.language, 'js');
  assert.deepEqual(
    quote.blocks.map(({ type }) => type),
    ['paragraph', 'list'],
  );
  assert.deepEqual(table.align, ['left', 'right']);
});

test('Lists nest, count and can be ticked', () => {
  const [list] = parseMarkdown('3. three\n   - [x] done\n   - [ ] open\n4. four\nlazy\n');
  assert.deepEqual([list.ordered, list.start, list.items.length], [true, 3, 2]);
  assert.deepEqual(
    list.items[0].blocks[1].items.map(({ done }) => done),
    [true, false],
  );
  assert.deepEqual(list.items[1].blocks[0].inline, ['four\nlazy']);
});

test('Inline marks', () => {
  assert.deepEqual(parseInline('a **b *c* d** `**` ~~e~~ snake_case_name \\*f\\*'), [
    'a ',
    { type: 'strong', inline: ['b ', { type: 'em', inline: ['c'] }, ' d'] },
    ' ',
    { type: 'code', text: '**' },
    ' ',
    { type: 'del', inline: ['e'] },
    ' snake_case_name *f*',
  ]);
  assert.deepEqual(parseInline('2 * 3 * 4 and a ` b'), ['2 * 3 * 4 and a ` b']);
});

test('Links keep their target for the view to judge, markup stays text', () => {
  assert.deepEqual(parseInline('[x](javascript:alert(1)) <img src=x onerror=alert(1)>'), [
    { type: 'link', href: 'javascript:alert(1)', inline: ['x'] },
    ' <img src=x onerror=alert(1)>',
  ]);
  assert.deepEqual(parseInline('see https://example.org/a_(b)?c=d.'), [
    'see ',
    { type: 'link', href: 'https://example.org/a_(b)?c=d', inline: ['https://example.org/a_(b)?c=d'] },
    '.',
  ]);
});

test('What is settled means the same whatever comes after it', () => {
  const text = '# A\n\npara one\nstill\n\n- a\n\n- b\n\n  deeper\n\n```\ncode\n\nmore\n```\n\nlast para\n';
  for (let cut = 0; cut <= text.length; cut += 1) {
    const settled = settledLength(text.slice(0, cut));
    const whole = parseMarkdown(text);
    const pieces = [...parseMarkdown(text.slice(0, settled)), ...parseMarkdown(text.slice(settled))];
    assert.deepEqual(pieces, whole, `cut at ${cut}, settled ${settled}`);
  }
  assert.ok(settledLength(text) > text.indexOf('```'));
});

test('Floods of openers are no trap', () => {
  const started = performance.now();
  for (const flood of [
    '*a ',
    '**a',
    '`a``',
    '[a](',
    '_a ',
    '> ',
    '- ',
    '![',
    '<h',
    'http',
    '~~',
    '*_',
    '|-',
    '  * ',
  ])
    parseMarkdown(flood.repeat(20_000));
  const took = performance.now() - started;
  console.log(`figure: 14 floods of 40 to 80 kB parsed in ${took.toFixed(0)} ms`);
  assert.ok(took < 20_000, `${took} ms`);
});

test('Hunks of a patch become numbered rows; what looks like a header inside is content', () => {
  const hunks = parseHunks(
    'diff --git a/x b/x\n--- a/x\n+++ b/x\n@@ -1,3 +1,3 @@ f()\n same\n--- old\n+++ new\n end\n\\ No newline at end of file\n@@ -10 +10 @@\n-a\n+b\n',
  );
  assert.deepEqual(
    hunks.map(({ header }) => header),
    ['f()', ''],
  );
  assert.deepEqual(
    hunks[0].rows.map(({ kind, text, old, new: now }) => [kind, text, old, now]),
    [
      ['same', 'same', 1, 1],
      ['del', '-- old', 2, null],
      ['add', '++ new', null, 2],
      ['same', 'end', 3, 3],
      ['note', 'No newline at end of file', null, null],
    ],
  );
  assert.deepEqual(
    hunks[1].rows.map(({ kind, old, new: now }) => [kind, old, now]),
    [
      ['del', 10, null],
      ['add', null, 10],
    ],
  );
});

test('The rows between two texts lead from one to the other', () => {
  const before = Array.from({ length: 30 }, (_, i) => `line ${i}`);
  const after = [...before.slice(0, 10), 'new a', 'new b', ...before.slice(11, 19), ...before.slice(21)];
  const rows = diffTexts(before.join('\n'), after.join('\n'), 99);
  assert.deepEqual(
    rows.filter(({ kind }) => kind !== 'add').map(({ text }) => text),
    before,
  );
  assert.deepEqual(
    rows.filter(({ kind }) => kind !== 'del').map(({ text }) => text),
    after,
  );
  assert.equal(rows.filter(({ kind }) => kind === 'same').length, 27);
  assert.deepEqual(
    diffTexts('', 'a\nb\n').map(({ kind }) => kind),
    ['add', 'add'],
  );
});
