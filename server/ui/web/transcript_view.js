// transcript_view.js — the transcript as a window on the model's items: only some hundred of them are
// nodes at a time, others come as one scrolls.
import { button, h } from './dom.js';
import { makeItem } from './items_view.js';

/** Items that are nodes when one looks at the end; a step to either side; and how many there are at most. */
const WINDOW = 120;
const STEP = 40;
const WINDOW_MAX = 280;
/** So near to the end one counts as being there, and stays there as text comes. */
const NEAR_END_PX = 60;
/** So near to the window's edge the next step comes. */
const NEAR_EDGE_PX = 600;

export class TranscriptView {
  #model;
  #ctx;
  #views = new Map(); // item id -> view
  #first = 0; // index of the first item that is a node
  #last = Infinity; // index behind the last one; Infinity: whatever comes
  #structure = -1;
  #pinned = true;
  #list = h('div', { class: 'items', role: 'log', 'aria-label': 'Transcript', 'aria-live': 'off' });
  #latest = button('Jump to the latest', () => this.toEnd(), { class: 'to-end', hidden: true });
  node = h('div', { class: 'transcript', tabIndex: 0 }, this.#list);

  /** `ctx` is for the items (see items_view.js). `node` scrolls; `latest` belongs above its end. */
  constructor(model, ctx) {
    this.#model = model;
    this.#ctx = ctx;
    this.node.addEventListener('scroll', () => this.#scrolled(), { passive: true });
    new ResizeObserver(() => {
      if (this.#pinned) this.#scrollToEnd();
    }).observe(this.#list);
  }

  get latest() {
    return this.#latest;
  }

  /** Brings the nodes up to the model; `changed` are the ids that differ. */
  update(changed) {
    const { items } = this.#model;
    if (this.#structure !== this.#model.structure) {
      this.#structure = this.#model.structure;
      if (this.#pinned && items.length - this.#first > WINDOW_MAX) this.#first = items.length - WINDOW;
      this.#arrange();
    }
    for (const id of changed) {
      const view = this.#views.get(id);
      if (view) this.#show(view);
    }
    this.node.dataset.seq = this.#model.seq;
    this.node.dataset.gaps = this.#model.gaps;
    if (this.#pinned) this.#scrollToEnd();
  }

  toEnd() {
    this.#pinned = true;
    this.#first = Math.max(0, this.#model.items.length - WINDOW);
    this.#last = Infinity;
    this.#arrange();
    this.#scrollToEnd();
    this.#latest.hidden = true;
  }

  // A view whose item took a shape that it cannot show is made anew; makeItem() has an answer to all.
  #show(view) {
    try {
      view.update(view.item);
    } catch {
      const { item } = view;
      const other = makeItem(item, this.#ctx);
      other.item = item;
      view.node.replaceWith(other.node);
      this.#views.set(item.id, other);
    }
  }

  // Makes the list's children those of the window, in order; nodes that stay are not touched.
  #arrange() {
    const { items } = this.#model;
    const wanted = new Set();
    let at = this.#list.firstChild;
    for (let i = this.#first; i < Math.min(items.length, this.#last); i += 1) {
      const item = items[i];
      wanted.add(item.id);
      let view = this.#views.get(item.id);
      if (!view) {
        view = makeItem(item, this.#ctx);
        view.item = item;
        this.#views.set(item.id, view);
      }
      if (view.node === at) at = at.nextSibling;
      else this.#list.insertBefore(view.node, at);
    }
    for (const [id, view] of this.#views) {
      if (wanted.has(id)) continue;
      view.node.remove();
      this.#views.delete(id);
    }
  }

  // Moves the window; what one looks at stays where it is.
  #slide(first, last) {
    const top = this.node.getBoundingClientRect().top;
    const anchor = [...this.#list.children].find((node) => node.getBoundingClientRect().bottom > top);
    const before = anchor?.getBoundingClientRect().top;
    this.#first = first;
    this.#last = last;
    this.#arrange();
    if (anchor?.isConnected) this.node.scrollTop += anchor.getBoundingClientRect().top - before;
  }

  #scrolled() {
    const { length } = this.#model.items;
    const rest = this.node.scrollHeight - this.node.scrollTop - this.node.clientHeight;
    const atEnd = this.#last >= length;
    this.#pinned = atEnd && rest < NEAR_END_PX;
    this.#latest.hidden = this.#pinned;
    if (this.#pinned) this.#last = Infinity;
    else if (this.node.scrollTop < NEAR_EDGE_PX && this.#first > 0) {
      const first = Math.max(0, this.#first - STEP);
      const last = Math.min(length, this.#last);
      this.#slide(first, last - first > WINDOW_MAX ? first + WINDOW_MAX : this.#last);
    } else if (rest < NEAR_EDGE_PX && !atEnd) {
      const last = this.#last + STEP >= length ? Infinity : this.#last + STEP;
      this.#slide(Math.max(this.#first, Math.min(last, length) - WINDOW_MAX), last);
    }
  }

  #scrollToEnd() {
    this.node.scrollTop = this.node.scrollHeight;
  }
}
