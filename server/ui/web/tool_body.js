// tool_body.js — what a tool call was given and gave: input, diffs, output, places.
import { diffTexts } from './diff.js';
import { diffTable } from './diff_view.js';
import { h } from './dom.js';
import { shortPath } from './words.js';

/** Characters of a text that are shown; the log has all of it. */
const TEXT_MAX = 20_000;

export function clip(text) {
  return text.length > TEXT_MAX
    ? `${text.slice(0, TEXT_MAX)}\n… ${text.length - TEXT_MAX} more characters`
    : text;
}

function asText(value) {
  return typeof value === 'string' ? value : JSON.stringify(value, null, 2);
}

/** A tool's input as people read it: a lone command as it is typed, else JSON; empty if there is none. */
export function inputText(input) {
  const names = Object.keys(input ?? {});
  if (names.length === 0) return '';
  const { command } = input;
  const typed = Array.isArray(command) ? command.join(' ') : command;
  return names.length === 1 && typeof typed === 'string' ? typed : asText(input);
}

function output(title, text) {
  return h(
    'div',
    { class: 'tool-output' },
    h('div', { class: 'caption' }, title),
    h('pre', { tabIndex: 0 }, clip(text)),
  );
}

/** The parts of a tool call's content as nodes. */
export function contentNodes(content) {
  return (Array.isArray(content) ? content : []).map((part) => {
    if (part.type === 'diff') {
      const rows = diffTexts(part.oldText ?? '', part.newText ?? '');
      return h(
        'div',
        { class: 'tool-diff' },
        h('div', { class: 'path' }, shortPath(part.path)),
        diffTable(rows),
      );
    }
    if (part.type === 'content' && part.content?.type === 'text')
      return output('Output', part.content.text ?? '');
    return h(
      'div',
      { class: 'caption' },
      part.type === 'terminal' ? 'terminal' : `[${part.content?.type ?? part.type}]`,
    );
  });
}

/** All that is known of a tool call, as nodes. */
export function toolBody(item) {
  const input = inputText(item.input);
  const parts = [input && input !== item.title ? output('Input', input) : null, contentNodes(item.content)];
  if (!item.content?.length && item.output !== null) parts.push(output('Output', asText(item.output)));
  for (const { path, line } of item.locations ?? [])
    parts.push(h('div', { class: 'path' }, shortPath(path) + (line ? `:${line}` : '')));
  const some = parts.flat().some(Boolean);
  return some ? parts : [h('div', { class: 'caption' }, 'Nothing more was told.')];
}
