// queue_view.js — the prompts that wait: edit, order, remove, send now; and why they wait.
import { sessionPath } from './api.js';
import { button, fill, h, icon } from './dom.js';
import { promptText, queueOf } from './session_model.js';
import { attempt } from './toast.js';
import { plural } from './words.js';

export class QueueView {
  node = h('section', { class: 'queue', 'aria-label': 'Queue', hidden: true });
  #api;
  #session;
  #editing = null; // {id, text}
  #shown = '';
  #model = null;

  constructor(api, session) {
    this.#api = api;
    this.#session = session;
  }

  update(model) {
    this.#model = model;
    const turns = queueOf(model);
    // Made anew only if it differs: who is typing in it keeps the cursor.
    const signature = JSON.stringify([
      turns.map((turn) => [turn.id, turn.number, turn.agent, turn.prompt]),
      model.held,
      Boolean(model.running),
      this.#editing?.id,
    ]);
    if (signature === this.#shown) return;
    this.#shown = signature;
    if (this.#editing && !turns.some((turn) => turn.id === this.#editing.id)) this.#editing = null;
    this.node.hidden = turns.length === 0;
    const held = model.held !== null && !model.running;
    fill(
      this.node,
      h(
        'header',
        null,
        h('span', null, `${turns.length} ${plural(turns.length, 'prompt')} ${held ? 'held' : 'waiting'}`),
        held ? h('span', { class: 'caption' }, model.held) : null,
        held
          ? button('Go on', () => attempt(() => this.#api.send('POST', this.#path('resume-queue'))), {
              class: 'primary small',
            })
          : null,
      ),
      h(
        'ol',
        null,
        turns.map((turn, i) =>
          this.#editing?.id === turn.id ? this.#editor(turn) : this.#row(turn, i, turns),
        ),
      ),
    );
    this.node.querySelector('textarea')?.focus();
  }

  #path(...parts) {
    return sessionPath(this.#session, ...parts);
  }

  #row(turn, i, turns) {
    const move = (by) => {
      const order = turns.map(({ id }) => id);
      [order[i], order[i + by]] = [order[i + by], order[i]];
      return attempt(() => this.#api.send('PUT', this.#path('inputs'), { order }));
    };
    const act = (name, label, call, disabled = false) =>
      button(icon(name), call, {
        class: 'quiet icon-button',
        title: label,
        'aria-label': `${label}: ${promptText(turn.prompt).slice(0, 60)}`,
        disabled,
      });
    return h(
      'li',
      { dataset: { turn: turn.id } },
      h('span', { class: 'queue-text' }, promptText(turn.prompt)),
      h('span', { class: 'caption' }, turn.agent),
      h(
        'span',
        { class: 'queue-actions' },
        act('up', 'Move up', () => move(-1), i === 0),
        act('down', 'Move down', () => move(1), i === turns.length - 1),
        act('edit', 'Edit', () => this.#edit({ id: turn.id, text: promptText(turn.prompt) })),
        act('send', 'Send now', () =>
          attempt(() => this.#api.send('POST', this.#path('inputs', turn.id, 'send'))),
        ),
        act('remove', 'Remove', () => attempt(() => this.#api.remove(this.#path('inputs', turn.id)))),
      ),
    );
  }

  #edit(editing) {
    this.#editing = editing;
    this.update(this.#model);
  }

  #editor(turn) {
    const input = h('textarea', { rows: 3, value: this.#editing.text, 'aria-label': 'Prompt' });
    const save = async () => {
      const blocks = (turn.prompt ?? []).filter((block) => block.type !== 'text'); // attachments stay
      const prompt = [{ type: 'text', text: input.value }, ...blocks];
      if (await attempt(() => this.#api.send('PATCH', this.#path('inputs', turn.id), { prompt })))
        this.#edit(null);
    };
    input.addEventListener('keydown', (event) => {
      if (event.key === 'Escape') this.#edit(null);
      else if (event.key === 'Enter' && !event.shiftKey && !event.isComposing) {
        event.preventDefault();
        save();
      } else return;
      event.stopPropagation();
    });
    return h(
      'li',
      { class: 'editing', dataset: { turn: turn.id } },
      input,
      h(
        'span',
        { class: 'queue-actions' },
        button('Save', save, { class: 'primary small' }),
        button('Cancel', () => this.#edit(null), { class: 'quiet small' }),
      ),
    );
  }
}
