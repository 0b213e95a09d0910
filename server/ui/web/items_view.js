// items_view.js — one item of the transcript as nodes. Each maker gives {node, update(item)}.
import { button, fill, h, icon } from './dom.js';
import { MarkdownView } from './markdown_view.js';
import { questionCard } from './questions_view.js';
import { own } from './table.js';
import { clip, toolBody } from './tool_body.js';
import { agentBadge, countsOf, duration, plural } from './words.js';

function prompt(item) {
  const node = h(
    'article',
    { class: 'item prompt', 'aria-label': 'Your prompt' },
    h('div', { class: 'prompt-text' }, item.text),
    item.steered ? h('div', { class: 'caption' }, 'added to the running turn') : null,
  );
  return { node, update() {} };
}

function text(item) {
  const view = new MarkdownView();
  const node = h('article', { class: 'item text', 'aria-label': `${item.agent ?? 'agent'} says` }, view.node);
  return { node, update: (now) => view.update(now.text) };
}

function thought() {
  const body = h('div', { class: 'thought-text' });
  const hint = h('span', { class: 'hint' });
  const node = h(
    'details',
    { class: 'item fold thought' },
    h('summary', null, icon('chevron'), h('span', null, 'Thought'), hint),
    body,
  );
  let shown = null;
  const show = () => {
    if (node.open) body.textContent = shown.text;
  };
  node.addEventListener('toggle', show);
  return {
    node,
    update(now) {
      shown = now;
      hint.textContent = now.text.trim().split('\n')[0].slice(0, 100);
      show();
    },
  };
}

const TOOL_STATUS = {
  pending: 'pending',
  in_progress: 'running',
  completed: 'done',
  failed: 'failed',
  unfinished: 'no result',
};

function tool(item) {
  const title = h('span', { class: 'tool-title' });
  const status = h('span', { class: 'tool-status' });
  const body = h('div', { class: 'tool-body' });
  const node = h(
    'details',
    { class: 'item fold tool' },
    h('summary', null, icon('chevron'), h('span', { class: 'tool-kind' }, item.tool), title, status),
    body,
  );
  let shown = item;
  const show = () => {
    if (node.open) fill(body, toolBody(shown));
  };
  node.addEventListener('toggle', show);
  return {
    node,
    update(now) {
      shown = now;
      node.dataset.status = now.status;
      node.querySelector('.tool-kind').textContent = now.tool;
      title.textContent = now.title || now.tool;
      status.textContent = own(TOOL_STATUS, now.status) ?? now.status;
      // A diff is what one came to see; it opens by itself the first time it is there.
      const hasDiff = Array.isArray(now.content) && now.content.some((part) => part.type === 'diff');
      if (hasDiff && !node.dataset.opened) {
        node.dataset.opened = '1';
        node.open = true;
      }
      show();
    },
  };
}

const PLAN_MARK = { completed: '✓', in_progress: '▸', pending: '○' };

function plan() {
  const list = h('ol', null);
  const count = h('span', { class: 'hint' });
  const node = h(
    'section',
    { class: 'item plan', 'aria-label': 'Plan' },
    h('header', null, h('span', null, 'Plan'), count),
    list,
  );
  return {
    node,
    update(now) {
      const done = now.entries.filter((entry) => entry.status === 'completed').length;
      count.textContent = `${done} of ${now.entries.length}`;
      fill(
        list,
        now.entries.map((entry) =>
          h(
            'li',
            { class: `plan-${entry.status}` },
            h('span', { class: 'mark', 'aria-hidden': 'true' }, own(PLAN_MARK, entry.status) ?? '○'),
            h('span', null, entry.content),
            h('span', { class: 'sr-only' }, ` (${String(entry.status).replace('_', ' ')})`),
          ),
        ),
      );
    },
  };
}

function question(item, ctx) {
  const node = h('section', { class: 'item question', 'aria-label': 'Question' });
  return { node, update: (now) => questionCard(node, now, ctx) };
}

function ending(item) {
  const good = item.state === 'completed';
  const facts = [];
  if (!good || (item.reason && item.reason !== 'end_turn'))
    facts.push(good ? item.reason : `${item.state}${item.reason ? `: ${item.reason}` : ''}`);
  if (item.ms !== null) facts.push(duration(item.ms));
  if (item.usage?.totalTokens) facts.push(`${item.usage.totalTokens.toLocaleString('en')} tokens`);
  if (item.agent) facts.unshift(item.agent);
  const node = h(
    'div',
    { class: `item ending ${good ? '' : 'bad'}`, title: item.time },
    h('span', null, `Turn ${item.number}`),
    facts.map((fact) => h('span', null, fact)),
  );
  return { node, update() {} };
}

function change(item, ctx) {
  const row = (file) =>
    h(
      'li',
      null,
      button(
        [
          h('span', { class: `letter ${file.status}` }, file.status[0].toUpperCase()),
          h('span', { class: 'path' }, file.path),
          countsOf(file),
        ],
        () => ctx.showFile(file.path),
        { class: 'file-link' },
      ),
    );
  const node = h(
    'section',
    { class: 'item change', 'aria-label': 'Files changed' },
    h(
      'header',
      null,
      h(
        'span',
        null,
        item.outside ? 'Changed outside of a turn' : `${item.total} ${plural(item.total, 'file')} changed`,
      ),
      item.outside ? null : agentBadge(item.agent),
    ),
    h(
      'ul',
      null,
      item.files.slice(0, 12).map(row),
      item.undone
        .slice(0, 12)
        .map((path) =>
          h(
            'li',
            { class: 'undone' },
            h('span', { class: 'letter' }, '='),
            h('span', { class: 'path' }, path),
            h('span', { class: 'caption' }, 'as before'),
          ),
        ),
    ),
    item.files.length > 12 ? h('div', { class: 'caption' }, `and ${item.files.length - 12} more`) : null,
  );
  return { node, update() {} };
}

function boundary(item) {
  const where = item.to === 'branch' ? `Applied to ${item.branch}` : 'Applied to the working files';
  const what = item.unchanged
    ? 'it was there already'
    : `${item.files.length} ${plural(item.files.length, 'file')}${item.commit ? ` · ${item.commit.slice(0, 8)}` : ''}`;
  const node = h(
    'div',
    { class: 'item boundary', role: 'separator', 'aria-label': `${where}, ${what}` },
    h('span', null, icon('check'), h('b', null, where), ` ${what}`),
  );
  return { node, update() {} };
}

function notice(item) {
  const node = item.detail
    ? h(
        'details',
        { class: `item notice ${item.level}` },
        h('summary', null, item.text),
        h('pre', null, clip(item.detail)),
      )
    : h('div', { class: `item notice ${item.level}` }, item.text);
  return { node, update() {} };
}

const MAKERS = { prompt, text, thought, tool, plan, question, ending, change, boundary, notice };

/** Makes the view of an item; `ctx` has the session's api and `showFile(path)`. */
export function makeItem(item, ctx) {
  let view;
  try {
    view = MAKERS[item.kind](item, ctx);
    view.update(item);
  } catch {
    view = unknown(item);
  }
  view.node.dataset.item = item.id;
  return view;
}

/** What an agent sent in a shape that cannot be shown, as it is. */
function unknown(item) {
  const made = (now) => h('pre', null, clip(JSON.stringify(now, null, 2)));
  const body = h('div', null, made(item));
  const node = h(
    'details',
    { class: 'item notice warning' },
    h('summary', null, `A ${item.kind} that cannot be shown`),
    body,
  );
  return { node, update: (now) => fill(body, made(now)) };
}
