// markdown_view.js — shows a Markdown tree as DOM nodes, and text that is still being written.
import { append, button, h } from './dom.js';
import { parseMarkdown, settledLength } from './markdown.js';

/** Schemes a link may have; all others are shown as text. */
const SAFE_LINK = /^(https?:\/\/|mailto:)/i;

function inlineNode(node) {
  if (typeof node === 'string') return node;
  if (node.type === 'code') return h('code', null, node.text);
  if (node.type === 'break') return h('br');
  const inner = node.inline.map(inlineNode);
  if (node.type !== 'link') return h(node.type, null, inner);
  if (!SAFE_LINK.test(node.href)) return h('span', { class: 'dead-link', title: node.href }, inner);
  return h('a', { href: node.href, target: '_blank', rel: 'noopener noreferrer nofollow' }, inner);
}

function codeNode({ text, language }) {
  const copy = button(
    'Copy',
    async () => {
      await navigator.clipboard?.writeText(text);
      copy.textContent = 'Copied';
      setTimeout(() => {
        copy.textContent = 'Copy';
      }, 1200);
    },
    { class: 'copy quiet' },
  );
  return h(
    'div',
    { class: 'code-block' },
    h('div', { class: 'code-head' }, h('span', null, language || 'text'), copy),
    h('pre', { tabIndex: 0 }, h('code', null, text)),
  );
}

function tableNode({ head, align, rows }) {
  const row = (cells, tag) =>
    h(
      'tr',
      null,
      cells.map((cell, i) => h(tag, { class: `align-${align[i] ?? 'left'}` }, cell.map(inlineNode))),
    );
  return h(
    'div',
    { class: 'table-wrap' },
    h(
      'table',
      null,
      h('thead', null, row(head, 'th')),
      h(
        'tbody',
        null,
        rows.map((cells) => row(cells, 'td')),
      ),
    ),
  );
}

function listNode({ ordered, start, items }) {
  const made = h(
    ordered ? 'ol' : 'ul',
    null,
    items.map((item) =>
      h(
        'li',
        { class: item.done === null ? null : 'task' },
        item.done === null
          ? null
          : h(
              'span',
              { class: 'box', role: 'img', 'aria-label': item.done ? 'done' : 'open' },
              item.done ? '☑ ' : '☐ ',
            ),
        // A single paragraph stands in the item itself, so that lists stay tight.
        item.blocks.map((block, i) =>
          i === 0 && block.type === 'paragraph' ? block.inline.map(inlineNode) : blockNode(block),
        ),
      ),
    ),
  );
  if (ordered && start !== 1) made.start = start;
  return made;
}

function blockNode(block) {
  switch (block.type) {
    case 'heading':
      return h(`h${Math.min(block.level + 2, 6)}`, null, block.inline.map(inlineNode));
    case 'code':
      return codeNode(block);
    case 'list':
      return listNode(block);
    case 'quote':
      return h('blockquote', null, block.blocks.map(blockNode));
    case 'table':
      return tableNode(block);
    case 'rule':
      return h('hr');
    default:
      return h('p', null, block.inline.map(inlineNode));
  }
}

/** A paragraph above this length is cut at a space, so that no frame makes all of an endless one anew. */
const PARAGRAPH_MAX = 8000;

/** How much of `text` is settled, also within a paragraph that does not end. */
function settledEnd(text, from) {
  const settled = settledLength(text, from);
  const tail = text.slice(settled);
  if (tail.length <= PARAGRAPH_MAX || parseMarkdown(tail.slice(0, PARAGRAPH_MAX))[0]?.type !== 'paragraph')
    return settled;
  const space = tail.indexOf(' ', PARAGRAPH_MAX);
  return space === -1 ? settled : settled + space + 1;
}

/** Text that grows: what is settled is made into nodes once, only the tail is made anew. */
export class MarkdownView {
  node = h('div', { class: 'markdown' });
  #settled = 0;
  #tail = [];

  update(text) {
    for (const node of this.#tail) node.remove();
    for (let settled; (settled = settledEnd(text, this.#settled)) > this.#settled;) {
      append(this.node, parseMarkdown(text.slice(this.#settled, settled)).map(blockNode));
      this.#settled = settled;
    }
    this.#tail = parseMarkdown(text.slice(this.#settled)).map(blockNode);
    append(this.node, this.#tail);
  }
}
