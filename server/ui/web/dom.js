// dom.js — makes DOM nodes. Text goes in as text nodes only; nothing here parses markup.

/**
 * An element. `props`: `class`, `dataset` (object), `on` (object of listeners), properties that the
 * element has (`value`, `disabled`, ...), and attributes for all other names. Null and false
 * children are left out, strings become text.
 */
export function h(tag, props, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(props ?? {})) {
    if (value === undefined || value === null) continue;
    if (name === 'class') node.className = value;
    else if (name === 'dataset') Object.assign(node.dataset, value);
    else if (name === 'on')
      for (const [type, call] of Object.entries(value)) node.addEventListener(type, call);
    else if (name in node && !name.includes('-')) node[name] = value;
    else node.setAttribute(name, value);
  }
  append(node, children);
  return node;
}

/** Appends children as h() does. */
export function append(node, children) {
  for (const child of children.flat(Infinity)) {
    if (child === null || child === undefined || child === false) continue;
    node.append(child);
  }
  return node;
}

/** Replaces all children of `node`. */
export function fill(node, ...children) {
  node.replaceChildren();
  return append(node, children);
}

/** A button; `props` as in h(). */
export function button(text, onclick, props) {
  return h('button', { type: 'button', ...props, on: { click: onclick } }, text);
}

/** A choice of one of `options`, [value, text] each; the first where none has the value `selected`. */
export function select(options, selected, props) {
  return h(
    'select',
    props,
    options.map(([value, text]) => h('option', { value, selected: value === selected }, text)),
  );
}

const SVG = 'http://www.w3.org/2000/svg';

/** An icon of 16 by 16 units, drawn by the paths that have its name; hidden from screen readers. */
export function icon(name) {
  const svg = document.createElementNS(SVG, 'svg');
  svg.setAttribute('viewBox', '0 0 16 16');
  svg.setAttribute('class', 'icon');
  svg.setAttribute('aria-hidden', 'true');
  const path = document.createElementNS(SVG, 'path');
  path.setAttribute('d', ICONS[name]);
  svg.append(path);
  return svg;
}

const ICONS = {
  plus: 'M8 3v10M3 8h10',
  menu: 'M2.5 4.5h11M2.5 8h11M2.5 11.5h11',
  back: 'M9.5 3.5 5 8l4.5 4.5',
  more: 'M3.5 8h.01M8 8h.01M12.5 8h.01',
  diff: 'M8 2.5v6M5 5.5h6M5 12.5h6',
  up: 'M8 12.5v-9M4.5 7 8 3.5 11.5 7',
  down: 'M8 3.5v9M4.5 9 8 12.5 11.5 9',
  edit: 'M10.5 3 13 5.5 6 12.5l-3 .5.5-3z',
  remove: 'm4 4 8 8m0-8-8 8',
  send: 'M2.5 8h11M9 3.5 13.5 8 9 12.5',
  stop: 'M4.5 4.5h7v7h-7z',
  sun: 'M8 5.2a2.8 2.8 0 1 0 0 5.6 2.8 2.8 0 0 0 0-5.6M8 1.5v1M8 13.5v1M1.5 8h1M13.5 8h1M3.4 3.4l.7.7M11.9 11.9l.7.7M12.6 3.4l-.7.7M4.1 11.9l-.7.7',
  check: 'm3 8.5 3.2 3L13 4.5',
  chevron: 'm6 3.5 4.5 4.5L6 12.5',
};
