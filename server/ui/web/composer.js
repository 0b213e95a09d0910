// composer.js — where one writes: the prompt, which agent takes it, send and stop.
import { sessionPath } from './api.js';
import { button, fill, h, icon } from './dom.js';
import { attempt } from './toast.js';

const HEIGHT_MAX_PX = 240;
const CHIP_TITLE = {
  live: 'It runs and knows everything',
  resumed: 'It is started and remembers its session',
  history: 'It is told the story so far',
  new: 'It begins without a past',
};

export class Composer {
  #api;
  #session;
  #running = null;
  #input = h('textarea', { rows: 1, placeholder: 'Write a prompt', 'aria-label': 'Prompt', id: 'prompt' });
  #agent = h('select', { 'aria-label': 'Agent', class: 'agent-select' });
  #chip = h('span', { class: 'chip', hidden: true });
  #send = h(
    'button',
    { type: 'submit', class: 'primary send', 'aria-label': 'Send' },
    icon('send'),
    h('span', null, 'Send'),
  );
  #stop = button([icon('stop'), h('span', null, 'Stop')], () => this.stop(), {
    class: 'stop',
    hidden: true,
    'aria-label': 'Stop',
    title: 'Stop the turn (Shift+Escape)',
  });
  #chips = new Map();
  node;

  constructor(api, session, draftKey) {
    this.#api = api;
    this.#session = session;
    this.node = h(
      'form',
      {
        class: 'composer',
        on: {
          submit: (event) => {
            event.preventDefault();
            this.#post('queue');
          },
        },
      },
      this.#input,
      h(
        'div',
        { class: 'composer-row' },
        this.#agent,
        this.#chip,
        h('span', { class: 'spacer' }),
        this.#stop,
        this.#send,
      ),
    );
    this.#input.value = sessionStorage.getItem(draftKey) ?? '';
    this.#input.addEventListener('input', () => {
      sessionStorage.setItem(draftKey, this.#input.value);
      this.#grow();
    });
    this.#input.addEventListener('keydown', (event) => this.#key(event));
    this.#agent.addEventListener('change', () => this.#showChip());
    this.draftKey = draftKey;
  }

  focus() {
    this.#input.focus();
  }

  /** The agents one can choose, the session's own first chosen, and what the next prompt of each will be. */
  showAgents(names, chosen, bindings, empty) {
    this.#chips = new Map(empty ? [] : names.map((name) => [name, bindings.get(name) ?? 'history']));
    const now = this.#agent.value || chosen;
    fill(
      this.#agent,
      names.map((name) => h('option', { value: name, selected: name === now }, name)),
    );
    this.#agent.value = now;
    this.#showChip();
  }

  /** Whether one can write, and what Send means. */
  update({ running, open }) {
    this.#running = running;
    this.#stop.hidden = !running;
    this.#input.disabled = this.#send.disabled = !open;
    this.#input.placeholder = !open
      ? 'This session is not open'
      : running
        ? 'The next prompt, for the queue'
        : 'Write a prompt';
    this.#send.querySelector('span').textContent = running ? 'Queue' : 'Send';
    this.#send.title = running
      ? 'Enter puts it into the queue, Ctrl+Enter adds it to the running turn'
      : 'Enter sends, Shift+Enter makes a new line';
  }

  stop() {
    if (this.#running)
      attempt(() =>
        this.#api.send('POST', sessionPath(this.#session, 'cancel'), { expected_turn: this.#running }),
      );
  }

  #showChip() {
    const chosen = this.#agent.value;
    const next = this.#chips.get(chosen);
    // The chosen one's is beside it; those of the others one sees before one chooses.
    for (const option of this.#agent.options) {
      const { value } = option;
      option.textContent =
        value !== chosen && this.#chips.has(value) ? `${value} · ${this.#chips.get(value)}` : value;
    }
    this.#chip.hidden = !next;
    this.#chip.textContent = next ?? '';
    this.#chip.dataset.next = next ?? '';
    this.#chip.title = CHIP_TITLE[next] ?? '';
  }

  #key(event) {
    if (event.key !== 'Enter' || event.shiftKey || event.isComposing) return;
    // On a phone Enter is the only way to a new line.
    if (matchMedia('(pointer: coarse)').matches && !event.ctrlKey) return;
    event.preventDefault();
    this.#post(event.ctrlKey || event.metaKey ? 'steer' : 'queue');
  }

  #grow() {
    this.#input.style.height = 'auto';
    this.#input.style.height = `${Math.min(this.#input.scrollHeight + 2, HEIGHT_MAX_PX)}px`;
  }

  async #post(onBusy) {
    const prompt = this.#input.value;
    if (prompt.trim() === '' || this.#input.disabled) return;
    this.#input.value = '';
    this.#grow();
    const sent = await attempt(() =>
      this.#api.once(sessionPath(this.#session, 'turns'), {
        prompt,
        agent: this.#agent.value,
        on_busy: onBusy,
      }),
    );
    if (sent) sessionStorage.removeItem(this.draftKey);
    else if (this.#input.value === '') this.#input.value = prompt; // nothing that was written is lost
    this.#grow();
  }
}
