// app.js — the page: which session is shown, the list beside it, keys.
import { Api, sessionPath } from './api.js';
import { showDialog } from './dialog.js';
import { button, fill, h } from './dom.js';
import { newSessionDialog } from './session_dialogs.js';
import { followSessions } from './session_list.js';
import { SessionScreen } from './session_screen.js';
import { SessionsView } from './sessions_view.js';
import { nextTheme } from './theme.js';
import { attempt, toast } from './toast.js';
import { askForToken, findToken, forgetToken } from './token.js';

const KEYS = [
  ['j k', 'next, previous session'],
  ['/', 'filter the sessions'],
  ['n', 'new session'],
  ['i Enter', 'write a prompt'],
  ['Enter', 'send (Shift+Enter: new line)'],
  ['Ctrl+Enter', 'add to the running turn'],
  ['p', 'go to the open question'],
  ['c', 'changes'],
  ['d', 'details of the session'],
  ['Shift+Escape', 'stop the turn'],
  ['Escape', 'leave a field, close'],
  ['?', 'this help'],
];

class App {
  #api;
  #root;
  #info = { agents: [] };
  #sessions = [];
  #screen = null;
  #watching = null;
  #over = new AbortController();
  #list = new SessionsView({
    open: (id) => this.#go(id),
    create: () => this.#create(),
    reload: () => this.#follow(),
    theme: () => toast(`Theme: ${nextTheme()}`),
    help: () => this.#help(),
  });
  #place = h('div', { class: 'place' });

  constructor(api, root) {
    this.#api = api;
    this.#root = root;
  }

  async start() {
    this.#info = await this.#api.get('v1/info');
    fill(this.#root, h('div', { class: 'app' }, this.#list.node, this.#place));
    const { signal } = this.#over;
    addEventListener('hashchange', () => this.#route(), { signal });
    addEventListener('keydown', (event) => this.#key(event), { signal });
    this.#follow();
    await this.#route();
  }

  stop() {
    this.#over.abort();
    this.#watching?.abort();
    this.#screen?.leave();
  }

  // Anew when archived ones are wanted, or no more; the list stays until the other one is there.
  #follow() {
    this.#watching?.abort();
    this.#watching = new AbortController();
    const archived = this.#list.archived.checked;
    followSessions(this.#api, archived, (sessions) => this.#showList(sessions), this.#watching.signal);
  }

  #showList(sessions = this.#sessions) {
    this.#sessions = sessions;
    this.#list.update(sessions, this.#screen?.id ?? null);
  }

  #go(id) {
    location.hash = id === null ? '' : `#/s/${encodeURIComponent(id)}`;
  }

  async #route() {
    if (location.hash.startsWith('#token=')) return location.reload(); // a new link in this very tab
    const found = /^#\/s\/(.+)$/.exec(location.hash);
    const id = found ? decodeURIComponent(found[1]) : null;
    document.body.classList.toggle('in-session', id !== null);
    if (id === this.#screen?.id) return;
    this.#screen?.leave();
    this.#screen = null;
    if (id === null) return this.#showNothing();
    try {
      const session = await this.#api.get(sessionPath(id));
      if (decodeURIComponent(location.hash) !== `#/s/${id}` || this.#screen) return;
      this.#screen = new SessionScreen(this.#api, session, this.#info.agents, {
        back: () => this.#go(null),
        gone: () => this.#go(null),
        shown: (screen) => {
          document.title = `${['waiting', 'decision'].includes(screen.activity) ? '(!) ' : ''}${screen.title} · berth`;
        },
      });
      fill(this.#place, this.#screen.node);
      if (!matchMedia('(pointer: coarse)').matches) this.#screen.focusPrompt();
    } catch (problem) {
      this.#showNothing(problem.status === 404 ? 'There is no such session.' : problem.message);
    }
    this.#showList();
  }

  #showNothing(why) {
    document.title = 'berth';
    this.#showList();
    fill(
      this.#place,
      h(
        'main',
        { class: 'welcome' },
        h('img', { src: 'ui/favicon.svg', alt: '', width: 56, height: 56 }),
        h('h2', null, why ?? 'Ready when you are'),
        h(
          'p',
          null,
          'A session is a conversation with a coding agent in a worktree of its own. It outlives this page, the agent and the server.',
        ),
        button('New session', () => this.#create(), { class: 'primary' }),
      ),
    );
  }

  async #create() {
    const session = await newSessionDialog(this.#api, this.#info.agents);
    if (session) this.#go(session.id);
  }

  #help() {
    showDialog('Keys', (close) => ({
      content: h(
        'dl',
        { class: 'keys' },
        KEYS.map(([keys, what]) => [
          h(
            'dt',
            null,
            keys.split(' ').map((key) => h('kbd', null, key)),
          ),
          h('dd', null, what),
        ]),
      ),
      actions: [button('Close', () => close(), { class: 'primary' })],
    }));
  }

  #key(event) {
    if (document.querySelector('dialog[open]')) return;
    const inField = event.target.matches?.('input, textarea, select');
    if (event.key === 'Escape') {
      if (event.shiftKey) this.#screen?.stopTurn();
      else if (inField) event.target.blur();
      return;
    }
    if (inField || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === 'Enter' && event.target.matches?.('a, button, summary')) return;
    const call = {
      j: () => this.#go(this.#list.neighbour(1)),
      k: () => this.#go(this.#list.neighbour(-1)),
      '/': () => this.#list.focusFilter(),
      n: () => this.#create(),
      i: () => this.#screen?.focusPrompt(),
      Enter: () => this.#screen?.focusPrompt(),
      p: () => this.#screen?.focusQuestion(),
      c: () => this.#screen?.toggleChanges(),
      d: () => this.#screen?.showDetails(),
      '?': () => this.#help(),
    }[event.key];
    if (!call) return;
    event.preventDefault();
    call();
  }
}

/** Starts with a token, and asks for one where there is none or a wrong one. */
function begin(token, why) {
  const root = document.getElementById('root');
  if (!token) return askForToken(root, why, (given) => begin(given));
  let app = null;
  const denied = () => {
    if (!app) return; // several requests may come back refused
    app.stop();
    app = null;
    forgetToken();
    begin(null, 'The server does not take this token.');
  };
  app = new App(new Api(token, denied), root);
  attempt(() => app.start());
}

begin(findToken());
