// markdown.js — Markdown as agents write it, into a tree of plain objects. It never makes markup: HTML
// in the text stays text, and links keep their schemes for the view to judge.

const DEPTH_MAX = 12;
const FENCE = /^ {0,3}(`{3,}|~{3,})\s*([^`]*)$/;
const ITEM = /^( *)([-*+]|\d{1,9}[.)])(?: +(.*)|)$/;
const HEADING = /^ {0,3}(#{1,6})(?:\s+(.*?))?(?:\s+#+)?\s*$/;
const RULE = /^ {0,3}([-*_])(?:\s*\1){2,}\s*$/;
const QUOTE = /^ {0,3}> ?(.*)$/;
const TABLE_RULE = /^\s*\|?\s*:?-+:?\s*(?:\|\s*:?-+:?\s*)*\|?\s*$/;

/** Blocks: `{type: paragraph|heading|code|list|quote|table|rule, ...}` with inline nodes in `inline`. */
export function parseMarkdown(text) {
  return parseBlocks(text.replaceAll('\r\n', '\n').split('\n'), 0);
}

/**
 * How much of `text` will not change its meaning when more is appended: the position after the last
 * blank line outside of code that is followed by an unindented line which continues no list.
 */
export function settledLength(text, from = 0) {
  let settled = from;
  let fence = null;
  let blank = false;
  let at = from;
  while (at < text.length) {
    const end = text.indexOf('\n', at);
    if (end === -1) break;
    const line = text.slice(at, end);
    const marks = FENCE.exec(line);
    if (fence) {
      if (marks && marks[1].startsWith(fence) && marks[2] === '') fence = null;
    } else {
      if (blank && line !== '' && !/^\s/.test(line) && !ITEM.test(line)) settled = at;
      if (marks) fence = marks[1];
    }
    blank = !fence && line.trim() === '';
    at = end + 1;
  }
  return settled;
}

function parseBlocks(lines, depth) {
  const blocks = [];
  let at = 0;
  while (at < lines.length) {
    const line = lines[at];
    if (line.trim() === '') {
      at += 1;
      continue;
    }
    const taken =
      codeBlock(lines, at) ??
      heading(lines, at) ??
      rule(lines, at) ??
      (depth < DEPTH_MAX ? (quote(lines, at, depth) ?? list(lines, at, depth)) : null) ??
      table(lines, at) ??
      paragraph(lines, at);
    blocks.push(taken.block);
    at = taken.next;
  }
  return blocks;
}

function codeBlock(lines, at) {
  const open = FENCE.exec(lines[at]);
  if (!open) return null;
  let next = at + 1;
  const body = [];
  while (next < lines.length) {
    const close = FENCE.exec(lines[next]);
    if (close && close[1].startsWith(open[1]) && close[2] === '') break;
    body.push(lines[next]);
    next += 1;
  }
  return {
    block: { type: 'code', language: open[2].trim().split(/\s/)[0], text: body.join('\n') },
    next: next + 1,
  };
}

function heading(lines, at) {
  const found = HEADING.exec(lines[at]);
  if (!found) return null;
  return {
    block: { type: 'heading', level: found[1].length, inline: parseInline(found[2] ?? '') },
    next: at + 1,
  };
}

function rule(lines, at) {
  return RULE.test(lines[at]) ? { block: { type: 'rule' }, next: at + 1 } : null;
}

function quote(lines, at, depth) {
  if (!QUOTE.test(lines[at])) return null;
  const inner = [];
  let next = at;
  for (let found; next < lines.length && (found = QUOTE.exec(lines[next])); next += 1) inner.push(found[1]);
  return { block: { type: 'quote', blocks: parseBlocks(inner, depth + 1) }, next };
}

function list(lines, at, depth) {
  const first = ITEM.exec(lines[at]);
  if (!first || first[1].length > 3) return null;
  const ordered = /\d/.test(first[2]);
  const items = [];
  let next = at;
  while (next < lines.length) {
    const found = ITEM.exec(lines[next]);
    if (!found || found[1].length > 3 || /\d/.test(found[2]) !== ordered || RULE.test(lines[next])) break;
    const indent = found[1].length + found[2].length + 1;
    const inner = [found[3] ?? ''];
    next += 1;
    while (next < lines.length && continuesItem(lines, next, found[1].length)) {
      inner.push(lines[next].slice(Math.min(indent, lines[next].search(/\S|$/))));
      next += 1;
    }
    const task = /^\[([ xX])\]\s+/.exec(inner[0]);
    if (task) inner[0] = inner[0].slice(task[0].length);
    items.push({ blocks: parseBlocks(inner, depth + 1), done: task ? task[1] !== ' ' : null });
  }
  const start = ordered ? Number.parseInt(first[2], 10) : null;
  return { block: { type: 'list', ordered, start, items }, next };
}

// Deeper lines are the item's; a blank one is when a deeper one follows; so is a lazy line of text.
function continuesItem(lines, at, indent) {
  const line = lines[at];
  if (line.trim() === '') {
    const after = lines[at + 1];
    return after !== undefined && after.trim() !== '' && after.search(/\S/) > indent + 1;
  }
  if (line.search(/\S/) > indent + 1) return true;
  return lines[at - 1].trim() !== '' && !ITEM.test(line) && !startsBlock(lines, at);
}

function table(lines, at) {
  const under = lines[at + 1];
  if (under === undefined || !lines[at].includes('|') || !under.includes('-') || !TABLE_RULE.test(under))
    return null;
  const head = cells(lines[at]);
  const marks = cells(under);
  if (marks.length !== head.length) return null;
  const align = marks.map((mark) =>
    mark.endsWith(':') ? (mark.startsWith(':') ? 'center' : 'right') : 'left',
  );
  const rows = [];
  let next = at + 2;
  while (next < lines.length && lines[next].includes('|')) {
    rows.push(cells(lines[next]).slice(0, head.length).map(parseInline));
    next += 1;
  }
  return { block: { type: 'table', head: head.map(parseInline), align, rows }, next };
}

function cells(line) {
  const inner = line
    .trim()
    .replace(/^\|/, '')
    .replace(/(?<!\\)\|$/, '');
  return inner.split(/(?<!\\)\|/).map((cell) => cell.trim().replaceAll('\\|', '|'));
}

function startsBlock(lines, at) {
  const line = lines[at];
  return FENCE.test(line) || HEADING.test(line) || RULE.test(line) || QUOTE.test(line);
}

function paragraph(lines, at) {
  let next = at + 1;
  while (
    next < lines.length &&
    lines[next].trim() !== '' &&
    !startsBlock(lines, next) &&
    !ITEM.test(lines[next])
  )
    next += 1;
  const text = lines
    .slice(at, next)
    .map((line) => line.trimStart())
    .join('\n');
  return { block: { type: 'paragraph', inline: parseInline(text) }, next };
}

// --- inline ---

const PAIRS = ['***', '___', '**', '__', '~~', '*', '_'];
const STYLE = { '**': 'strong', __: 'strong', '~~': 'del', '*': 'em', _: 'em' };
const SPECIAL = /[\\`*_~[!<\n]|https?:\/\//g;
const ESCAPED = /[!-/:-@[-`{-~]/;

/** Inline nodes: strings and `{type: strong|em|del|code|link|break, ...}`. */
export function parseInline(text, depth = 0) {
  const nodes = [];
  const closes = new Map(); // mark -> the place behind which none closes: no text is scanned twice in vain
  let at = 0;
  let plain = '';
  const push = (node) => {
    if (plain) nodes.push(plain);
    plain = '';
    nodes.push(node);
  };
  while (at < text.length) {
    SPECIAL.lastIndex = at;
    const special = SPECIAL.exec(text);
    if (!special) break;
    plain += text.slice(at, special.index);
    at = special.index;
    const taken = inlineAt(text, at, depth, closes);
    if (taken?.node !== undefined) push(taken.node);
    else plain += taken ? taken.plain : text[at];
    at = taken ? taken.next : at + 1;
  }
  plain += text.slice(at);
  if (plain) nodes.push(plain);
  return nodes;
}

function inlineAt(text, at, depth, closes) {
  const char = text[at];
  if (char === '\\') {
    if (text[at + 1] === '\n') return { node: { type: 'break' }, next: at + 2 };
    return text[at + 1] && ESCAPED.test(text[at + 1]) ? { plain: text[at + 1], next: at + 2 } : null;
  }
  if (char === '\n')
    return text.slice(at - 2, at) === '  ' ? { node: { type: 'break' }, next: at + 1 } : null;
  if (char === '`') return codeSpan(text, at, closes);
  if (char === '<') return bracketed(text, at);
  if (char === 'h') return bareLink(text, at);
  if (depth >= DEPTH_MAX) return null;
  if (char === '[' || (char === '!' && text[at + 1] === '[')) return link(text, at, depth, closes);
  return emphasis(text, at, depth, closes);
}

/** Where `mark` is next, or -1; remembers that there is none, so that a flood of openers is linear. */
function find(text, mark, from, closes) {
  if (from >= (closes.get(mark) ?? Infinity)) return -1;
  const at = text.indexOf(mark, from);
  if (at === -1) closes.set(mark, from);
  return at;
}

function codeSpan(text, at, closes) {
  const marks = /^`+/.exec(text.slice(at, at + 64))[0];
  let close = find(text, marks, at + marks.length, closes);
  while (close !== -1 && text[close + marks.length] === '`') {
    let end = close;
    while (text[end] === '`') end += 1;
    close = find(text, marks, end, closes);
  }
  if (close === -1) return { plain: marks, next: at + marks.length };
  return {
    node: { type: 'code', text: text.slice(at + marks.length, close).replace(/^ (.+) $/s, '$1') },
    next: close + marks.length,
  };
}

function bracketed(text, at) {
  const found = /^<((?:https?:\/\/|mailto:)[^\s<>]+)>/.exec(text.slice(at, at + 2048));
  return found
    ? { node: { type: 'link', href: found[1], inline: [found[1]] }, next: at + found[0].length }
    : null;
}

function bareLink(text, at) {
  const url = /^https?:\/\/[^\s<>"'`|\\^{}]+/
    .exec(text.slice(at, at + 2048))?.[0]
    .replace(/[.,;:!?)\]*_~]+$/, '');
  return url && url.length > 8
    ? { node: { type: 'link', href: url, inline: [url] }, next: at + url.length }
    : { plain: 'http', next: at + 4 };
}

function link(text, at, depth, closes) {
  const open = text[at] === '!' ? at + 1 : at;
  const close = find(text, '](', open, closes);
  if (close === -1) return null;
  const label = text.slice(open + 1, close);
  const target =
    /^\]\(\s*<?([^\s<>()]*(?:\([^\s()]*\)[^\s()<>]*)*)>?(?:\s+["'][^"'\n]{0,200}["'])?\s*\)/.exec(
      text.slice(close, close + 2300),
    );
  if (!target || label.includes('\n\n')) return null;
  const inline = parseInline(label || target[1], depth + 1);
  return { node: { type: 'link', href: target[1], inline }, next: close + target[0].length };
}

function emphasis(text, at, depth, closes) {
  const mark = PAIRS.find((pair) => text.startsWith(pair, at));
  if (!mark || /\s/.test(text[at + mark.length] ?? ' '))
    return mark ? { plain: mark, next: at + mark.length } : null;
  const word = mark[0] === '_';
  if (word && /\w/.test(text[at - 1] ?? '')) return { plain: mark, next: at + mark.length };
  const unclosed = `unclosed ${mark}`;
  if (closes.has(unclosed)) return { plain: mark, next: at + mark.length };
  let close = at + mark.length;
  for (;;) {
    close = find(text, mark, close, closes);
    if (close === -1) {
      closes.set(unclosed, at);
      return { plain: mark, next: at + mark.length };
    }
    if (
      close > at + mark.length &&
      !/\s/.test(text[close - 1]) &&
      !(word && /\w/.test(text[close + mark.length] ?? '')) &&
      (mark.length > 1 || text[close + 1] !== mark || text[close - 1] === mark)
    )
      break;
    close += mark.length === 1 && text[close + 1] === mark ? 2 : 1;
  }
  const inline = parseInline(text.slice(at + mark.length, close), depth + 1);
  const node =
    mark.length === 3 ? { type: 'strong', inline: [{ type: 'em', inline }] } : { type: STYLE[mark], inline };
  return { node, next: close + mark.length };
}
