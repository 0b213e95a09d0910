// sessions_view.js — the list of sessions at the side.
import { button, fill, h, icon } from './dom.js';
import { ago, baseName } from './words.js';

const WORDS = {
  working: 'working',
  waiting: 'needs you',
  stalled: 'no sign of life',
  held: 'queue held',
  idle: 'idle',
  closed: 'closed',
  archived: 'archived',
  closing: 'closing',
  deleting: 'deleting',
};

/** What a person is wanted for is said in words: not everybody tells the dots apart by colour. */
const WANTED = ['waiting', 'stalled', 'held'];

/** Rows shown at first, and how many more at a time. */
const PAGE = 100;

/** One word for what a session of the list does; the same words as activityOf() in session_model.js. */
export function activityOfRow(session) {
  if (session.state !== 'open') return session.state;
  if (session.turn) {
    const waits = session.turn.state === 'waiting' || session.interactions_open > 0;
    return waits ? 'waiting' : session.stalled ? 'stalled' : 'working';
  }
  return session.held && session.queued ? 'held' : 'idle';
}

export function stateDot(activity) {
  return h('span', {
    class: `dot ${activity}`,
    role: 'img',
    'aria-label': WORDS[activity] ?? activity,
    title: WORDS[activity] ?? activity,
  });
}

export class SessionsView {
  #sessions = [];
  #limit = PAGE;
  #current = null;
  #nodes = new Map(); // id -> {node, signature}
  #filter = h('input', {
    type: 'search',
    placeholder: 'Filter',
    'aria-label': 'Filter sessions',
    autocomplete: 'off',
    on: { input: () => this.#arrange() },
  });
  #list = h('ul', { class: 'session-list' });
  #next;
  archived = h('input', { type: 'checkbox', id: 'archived' });
  node;

  /** `calls`: open(id), create(), reload() with or without archived ones, theme(), help(). */
  constructor(calls) {
    const more = () => {
      this.#limit += PAGE;
      this.#arrange();
    };
    this.#next = button('Show more', more, { class: 'quiet', hidden: true });
    this.archived.addEventListener('change', calls.reload);
    this.node = h(
      'nav',
      { class: 'sidebar', 'aria-label': 'Sessions' },
      h(
        'header',
        null,
        h('img', { src: 'ui/favicon.svg', alt: '', width: 22, height: 22 }),
        h('h1', null, 'berth'),
        h('span', { class: 'spacer' }),
        button(icon('sun'), calls.theme, {
          class: 'quiet icon-button',
          'aria-label': 'Change the theme',
          title: 'Light, dark, or as the system',
        }),
        button('?', calls.help, { class: 'quiet icon-button', 'aria-label': 'Keys', title: 'Keys (?)' }),
      ),
      button([icon('plus'), 'New session'], calls.create, { class: 'new-session', title: 'New session (n)' }),
      this.#filter,
      this.#list,
      this.#next,
      h('footer', null, h('label', { class: 'check', htmlFor: 'archived' }, this.archived, ' Show archived')),
    );
    this.#filter.addEventListener('keydown', (event) => {
      const first = this.#shown()[0];
      if (event.key === 'Enter' && first) calls.open(first.id);
      if (event.key !== 'Escape') return;
      this.#filter.value = '';
      this.#arrange();
    });
    this.#list.addEventListener('click', (event) => {
      const link = event.target.closest('a');
      if (!link || event.ctrlKey || event.metaKey) return;
      event.preventDefault();
      calls.open(link.dataset.id);
    });
  }

  focusFilter() {
    this.#filter.focus();
    this.#filter.select();
  }

  /** The id that is `by` places from the current one, of those that are shown. */
  neighbour(by) {
    const shown = this.#shown();
    const at = shown.findIndex((session) => session.id === this.#current);
    return shown[at === -1 ? 0 : Math.max(0, Math.min(shown.length - 1, at + by))]?.id ?? null;
  }

  update(sessions, current) {
    this.#sessions = sessions;
    this.#current = current;
    this.#arrange();
  }

  #shown() {
    const words = this.#filter.value.toLowerCase().split(/\s+/).filter(Boolean);
    return this.#sessions.filter((session) => {
      const text =
        `${session.title} ${session.id} ${session.agent} ${session.workspace.repository ?? session.workspace.directory ?? ''}`.toLowerCase();
      return words.every((word) => text.includes(word));
    });
  }

  // Rows that did not change keep their node, so that focus and hover stay.
  #arrange() {
    const matching = this.#shown();
    const shown = matching.slice(0, this.#limit);
    this.#next.hidden = shown.length === matching.length;
    let at = this.#list.firstChild;
    const wanted = new Set(shown.map((session) => session.id));
    for (const [id, { node }] of this.#nodes) {
      if (wanted.has(id)) continue;
      if (at === node) at = node.nextSibling;
      node.remove();
      this.#nodes.delete(id);
    }
    for (const session of shown) {
      const node = this.#row(session);
      if (node === at) at = at.nextSibling;
      else this.#list.insertBefore(node, at);
    }
    this.#list.classList.toggle('none', shown.length === 0);
    this.#list.dataset.empty = this.#sessions.length ? 'No session matches.' : 'No sessions yet.';
  }

  #row(session) {
    const activity = activityOfRow(session);
    const place = baseName(
      session.workspace.url ??
        session.workspace.repository ??
        (session.workspace.mode === 'directory' ? session.workspace.directory : ''),
    );
    const facts = [
      place,
      session.agent,
      session.queued ? `${session.queued} queued` : null,
      ago(session.updated_at),
    ]
      .filter(Boolean)
      .join(' · ');
    const signature = JSON.stringify([session.title, activity, facts, session.id === this.#current]);
    const known = this.#nodes.get(session.id);
    if (known?.signature === signature) return known.node;
    const node = known?.node ?? h('li');
    const focused = node.contains(document.activeElement);
    const link = h(
      'a',
      {
        href: `#/s/${encodeURIComponent(session.id)}`,
        dataset: { id: session.id },
        'aria-current': session.id === this.#current ? 'page' : null,
      },
      stateDot(activity),
      h('span', { class: 'session-title' }, session.title || session.id),
      h(
        'span',
        { class: 'caption' },
        WANTED.includes(activity) ? [h('b', null, WORDS[activity]), ' · '] : null,
        facts,
      ),
    );
    fill(node, link);
    if (focused) link.focus();
    this.#nodes.set(session.id, { node, signature });
    return node;
  }
}
