// session_screen.js — one session on the screen: follows its events and keeps all its views true.
import { sessionPath } from './api.js';
import { ChangesView } from './changes_view.js';
import { Composer } from './composer.js';
import { detailsDialog } from './details_dialog.js';
import { button, fill, h, icon } from './dom.js';
import { whileSeen } from './presence.js';
import { QueueView } from './queue_view.js';
import { activityOf, apply, newModel, promptText, seed, takeChanges } from './session_model.js';
import { stateDot } from './sessions_view.js';
import { attempt } from './toast.js';
import { TranscriptView } from './transcript_view.js';
import { baseName, countsOf } from './words.js';

/** Of longer logs only the last so many events are read at first. */
const EVENTS_FIRST = 20_000;
/** What comes together is asked for once. */
const SETTLE_MS = 120;

const CHOICES = { retry: 'Try again', history: 'Start anew, tell it the story', fail: 'Give the turn up' };

export class SessionScreen {
  #api;
  #calls;
  #agents;
  #session;
  #model = newModel();
  #stop = new AbortController();
  #frame = 0;
  #settling = 0;
  #connection = 'connecting';
  #caughtUp = 0; // the event that was the last one when this began; until then nothing is shown
  #head = h('header', { class: 'session-head' });
  #banner = h('div', { class: 'banner', role: 'alert', hidden: true });
  #connectionLine = h('div', { class: 'connection', role: 'status', hidden: true });
  #composer;
  #queue;
  #transcript;
  #changes;
  #shownHead = '';
  #shownBanner = '';
  node;

  /** `agents` are the names one can choose; `calls`: back(), gone(), shown(screen). */
  constructor(api, session, agents, calls) {
    this.#api = api;
    this.#session = session;
    this.#caughtUp = session.last_seq;
    this.#agents = agents;
    this.#calls = calls;
    this.#composer = new Composer(api, session.id, `berth.draft.${session.id}`);
    this.#queue = new QueueView(api, session.id);
    this.#transcript = new TranscriptView(this.#model, {
      api,
      session: session.id,
      showFile: (path) => this.#showFile(path),
    });
    this.#changes = new ChangesView(
      api,
      () => this.#session,
      () => this.#endedTurns(),
      () => this.toggleChanges(false),
    );
    this.node = h(
      'div',
      { class: 'screen', 'data-session': session.id },
      h(
        'main',
        { class: 'conversation' },
        this.#head,
        this.#connectionLine,
        this.#banner,
        this.#transcript.node,
        h('div', { class: 'dock' }, this.#transcript.latest, this.#queue.node, this.#composer.node),
      ),
      this.#changes.node,
    );
    this.toggleChanges(
      this.#hasWorktree() &&
        localStorage.getItem('berth.changes') !== 'hidden' &&
        matchMedia('(min-width: 1100px)').matches,
      false,
    );
    this.#render();
    this.#follow(Math.max(0, session.last_seq - EVENTS_FIRST));
    this.#settle();
  }

  get id() {
    return this.#session.id;
  }
  get title() {
    return this.#session.title || this.#session.id;
  }
  get activity() {
    return activityOf(this.#model);
  }

  leave() {
    this.#stop.abort();
    cancelAnimationFrame(this.#frame);
    clearTimeout(this.#settling);
  }
  focusPrompt() {
    this.#composer.focus();
  }
  focusQuestion() {
    this.node
      .querySelector(
        '.question[data-state="open"] button, .question[data-state="open"] input, .question[data-state="open"] select',
      )
      ?.focus();
  }
  stopTurn() {
    this.#composer.stop();
  }
  /** What can be done with a session depends on its state now, not on when it was last asked for. */
  showDetails() {
    return attempt(async () => {
      this.#session = await this.#api.get(sessionPath(this.id));
      detailsDialog(this.#api, this.#session, { changed: () => this.#settle(), gone: this.#calls.gone });
    });
  }

  /** Shows or hides the panel of changes; without `shown` the other way round. */
  toggleChanges(shown = this.#changes.node.hidden, remember = true) {
    this.#changes.node.hidden = !shown;
    this.node.classList.toggle('with-changes', shown);
    if (remember) localStorage.setItem('berth.changes', shown ? 'shown' : 'hidden');
    if (shown) this.#changes.refresh();
    this.#shownHead = '';
    this.#render();
  }

  async #follow(after) {
    if (after > 0) {
      const loaded = await attempt(async () => {
        const [inputs, questions] = await Promise.all([
          this.#api.get(sessionPath(this.id, 'inputs')),
          this.#api.get(`${sessionPath(this.id, 'interactions')}?state=open`),
        ]);
        seed(this.#model, after, this.#session, inputs.inputs, questions.interactions);
      });
      if (!loaded || this.#stop.signal.aborted) return;
    }
    whileSeen((signal) => this.#listen(signal), this.#stop.signal);
  }

  // From where the model is: nothing is missed while nobody looks.
  #listen(signal) {
    return this.#api.follow(sessionPath(this.id, 'events'), {
      lastId: this.#model.seq > 0 ? String(this.#model.seq) : '',
      signal,
      onEvents: (batch) => this.#take(batch),
      onState: (state, status) => {
        this.#connection = state;
        if (state === 'refused' && status === 404) this.#calls.gone();
        this.#render();
      },
    });
  }

  #take(batch) {
    let settle = false;
    let changed = false;
    for (const { data } of batch) {
      const event = JSON.parse(data);
      apply(this.#model, event);
      if (event.type !== 'update') settle = true;
      if (event.type.startsWith('change.')) changed = true;
    }
    if (settle) this.#settle();
    if (changed && !this.#changes.node.hidden) this.#changes.refresh();
    this.#render();
  }

  // The session and its agents as the server tells them: what events alone do not say.
  #settle() {
    clearTimeout(this.#settling);
    this.#settling = setTimeout(
      async () => {
        try {
          const [session, bound] = await Promise.all([
            this.#api.get(sessionPath(this.id)),
            this.#api.get(sessionPath(this.id, 'agents')),
          ]);
          if (this.#stop.signal.aborted) return;
          this.#session = session;
          const empty =
            session.turn === null &&
            ![...this.#model.turns.values()].some((turn) => turn.ended && turn.startedAt) &&
            bound.agents.length === 0;
          const next = new Map(
            bound.agents.filter((agent) => agent.next).map((agent) => [agent.agent, agent.next]),
          );
          this.#composer.showAgents(
            this.#agents.includes(session.agent) ? this.#agents : [session.agent, ...this.#agents],
            session.agent,
            next,
            empty,
          );
          this.#render();
        } catch (lost) {
          if (lost.name !== 'Problem') this.#settle(); // the network; the stream tells when it is back
        }
      },
      this.#connection === 'lost' ? 1000 : SETTLE_MS,
    );
  }

  // One frame shows all that came since the last one.
  #render() {
    if (this.#frame) return;
    this.#frame = requestAnimationFrame(() => {
      this.#frame = 0;
      if (this.#stop.signal.aborted) return;
      this.#showHead();
      this.#showBanner();
      this.#connectionLine.hidden = this.#connection !== 'lost' && this.#connection !== 'refused';
      this.#connectionLine.textContent =
        this.#connection === 'refused' ? 'The server refuses this stream.' : 'Connection lost. Trying again…';
      this.node.dataset.connection = this.#connection;
      this.#queue.update(this.#model);
      this.#composer.update({ running: this.#model.running, open: this.#model.state === 'open' });
      this.#changes.showApplied(this.#model.applied);
      this.#changes.showRunning(this.#model.running);
      const loading = this.#model.seq < this.#caughtUp;
      this.#transcript.node.setAttribute('aria-busy', String(loading));
      if (!loading) this.#transcript.update(takeChanges(this.#model));
      this.#calls.shown(this);
    });
  }

  #showHead() {
    const { workspace } = this.#session;
    const place = baseName(
      workspace.url ?? workspace.repository ?? (workspace.mode === 'directory' ? workspace.directory : ''),
    );
    const { change } = this.#model;
    const signature = JSON.stringify([
      this.title,
      this.activity,
      place,
      change?.total,
      change?.additions,
      change?.deletions,
      this.#changes.node.hidden,
      this.#session.permission,
    ]);
    if (signature === this.#shownHead) return;
    this.#shownHead = signature;
    fill(
      this.#head,
      button(icon('back'), this.#calls.back, {
        class: 'quiet icon-button to-list',
        'aria-label': 'Sessions',
      }),
      stateDot(this.activity),
      h(
        'div',
        { class: 'head-text' },
        h('h2', null, this.title),
        h(
          'div',
          { class: 'caption' },
          [
            place,
            workspace.mode === 'none' ? 'no files' : workspace.mode,
            this.#session.permission === 'ask' ? null : `${this.#session.permission}s everything`,
          ]
            .filter(Boolean)
            .join(' · '),
        ),
      ),
      h('span', { class: 'spacer' }),
      this.#hasWorktree()
        ? button(
            [icon('diff'), h('span', { class: 'label' }, 'Changes'), change?.total ? countsOf(change) : null],
            () => this.toggleChanges(),
            {
              class: 'quiet',
              'aria-label': 'Changes',
              'aria-expanded': String(!this.#changes.node.hidden),
              'aria-controls': 'changes',
              title: 'Changes (c)',
            },
          )
        : null,
      button(icon('more'), () => this.showDetails(), {
        class: 'quiet icon-button',
        'aria-label': 'Session details',
        title: 'Details (d)',
      }),
    );
  }

  #showBanner() {
    const { decision, stalled, running } = this.#model;
    const signature = JSON.stringify([decision, stalled, running]);
    if (signature === this.#shownBanner) return;
    this.#shownBanner = signature;
    this.#banner.hidden = !decision && !stalled;
    if (decision) {
      const decide = (choice) =>
        attempt(() =>
          this.#api.send('POST', sessionPath(this.id, 'agents', decision.agent, 'decision'), { choice }),
        );
      fill(
        this.#banner,
        h('div', null, h('b', null, `${decision.agent} needs a decision. `), decision.message),
        h(
          'div',
          { class: 'actions' },
          decision.choices.map((choice) =>
            button(CHOICES[choice] ?? choice, () => decide(choice), {
              class: choice === 'fail' ? 'quiet danger' : 'small',
            }),
          ),
        ),
      );
    } else if (stalled) {
      const agent = this.#model.turns.get(running)?.agent;
      fill(
        this.#banner,
        h('div', null, h('b', null, `${agent} shows no sign of life. `), stalled),
        h(
          'div',
          { class: 'actions' },
          button('Stop the turn', () => this.stopTurn()),
          button(
            'Kill the agent',
            () => attempt(() => this.#api.send('POST', sessionPath(this.id, 'agents', agent, 'kill'))),
            { class: 'quiet danger' },
          ),
        ),
      );
    }
  }

  #hasWorktree() {
    return ['worktree', 'overlay'].includes(this.#session.workspace.mode);
  }
  #endedTurns() {
    return [...this.#model.turns.values()]
      .filter((turn) => turn.ended && turn.startedAt)
      .sort((a, b) => b.number - a.number)
      .map((turn) => ({ number: turn.number, text: promptText(turn.prompt) }));
  }
  #showFile(path) {
    this.toggleChanges(true);
    this.#changes.reveal(path);
  }
}
