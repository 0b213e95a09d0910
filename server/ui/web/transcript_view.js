// transcript_view.js — the transcript as a window on the model's items: only some hundred of them are
// nodes at a time, more come as one scrolls up.
import { button, h } from './dom.js';
import { makeItem } from './items_view.js';

/** Items that are nodes when one looks at the end; a step upwards; and when the far ones go again. */
const WINDOW = 120;
const STEP = 80;
const WINDOW_MAX = 320;
/** So near to the end one counts as being there, and stays there as text comes. */
const NEAR_END_PX = 60;

export class TranscriptView {
  #model;
  #ctx;
  #views = new Map(); // item id -> view
  #first = 0; // index of the first item that is a node
  #structure = -1;
  #pinned = true;
  #list = h('div', { class: 'items', role: 'log', 'aria-label': 'Transcript', 'aria-live': 'off' });
  #earlier = button('Show earlier', () => this.#showEarlier(), { class: 'earlier quiet', hidden: true });
  #latest = button('Jump to the latest', () => this.toEnd(), { class: 'to-end', hidden: true });
  node = h('div', { class: 'transcript', tabIndex: 0 }, this.#earlier, this.#list);

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
      if (view) view.update(this.#model.byId.get(id) ?? view.item);
    }
    this.node.dataset.seq = this.#model.seq;
    this.node.dataset.gaps = this.#model.gaps;
    if (this.#pinned) this.#scrollToEnd();
    else this.#latest.hidden = false;
  }

  toEnd() {
    this.#pinned = true;
    const { items } = this.#model;
    this.#first = Math.max(0, items.length - WINDOW);
    this.#arrange();
    this.#scrollToEnd();
    this.#latest.hidden = true;
  }

  // Makes the list's children those of the window, in order; nodes that stay are not touched.
  #arrange() {
    const { items } = this.#model;
    this.#first = Math.max(0, Math.min(this.#first, items.length - 1));
    const wanted = new Set();
    let at = this.#list.firstChild;
    for (let i = this.#first; i < items.length; i += 1) {
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
    while (at) {
      const next = at.nextSibling;
      at.remove();
      at = next;
    }
    for (const [id, view] of this.#views) {
      if (wanted.has(id)) continue;
      view.node.remove();
      this.#views.delete(id);
    }
    this.#earlier.hidden = this.#first === 0;
  }

  // What one looks at stays where it is while items come above it.
  #showEarlier() {
    if (this.#first === 0) return;
    const below = this.node.scrollHeight - this.node.scrollTop;
    this.#first = Math.max(0, this.#first - STEP);
    this.#arrange();
    this.node.scrollTop = this.node.scrollHeight - below;
  }

  #scrolled() {
    const rest = this.node.scrollHeight - this.node.scrollTop - this.node.clientHeight;
    this.#pinned = rest < NEAR_END_PX;
    if (this.#pinned) this.#latest.hidden = true;
    else if (this.node.scrollTop < 400) this.#showEarlier();
  }

  #scrollToEnd() {
    this.node.scrollTop = this.node.scrollHeight;
  }
}
