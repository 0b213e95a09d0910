// changes_view.js — the panel of changes: what is open against the base, by file, with who touched it.
import { sessionPath } from './api.js';
import { applyDialog, discardChanges, restoreDialog } from './change_dialogs.js';
import { parseHunks } from './diff.js';
import { hunksView } from './diff_view.js';
import { button, fill, h, icon } from './dom.js';
import { agentBadge, countsOf, plural } from './words.js';

export class ChangesView {
  #api;
  #session; // () => the session as the server last told
  #turns; // () => ended turns, newest first
  #change = null;
  #open = new Set(); // paths whose patch is shown
  #asked = 0;
  #body = h('div', { class: 'changes-body' });
  #sum = h('span', { class: 'counts' });
  #applied = h('div', { class: 'applied-line', hidden: true });
  // What is shown is the last snapshot: of the turn that runs it knows nothing.
  #running = h(
    'p',
    { class: 'caption running-line', hidden: true },
    'A turn is running: what it changes is shown when it has ended.',
  );
  #apply = button('Apply…', () => applyDialog(this.#api, this.#session(), this.#change.files), {
    class: 'primary',
  });
  #discard = button('Discard…', () => discardChanges(this.#api, this.#session(), null), {
    class: 'quiet danger',
  });
  #restore = button('Restore…', () => restoreDialog(this.#api, this.#session(), this.#turns()), {
    class: 'quiet',
  });
  node;

  constructor(api, session, turns, onClose) {
    this.#api = api;
    this.#session = session;
    this.#turns = turns;
    this.node = h(
      'aside',
      { class: 'panel changes', id: 'changes', 'aria-label': 'Changes' },
      h(
        'header',
        null,
        h('h2', null, 'Changes'),
        this.#sum,
        button('✕', onClose, { class: 'quiet close-panel', 'aria-label': 'Close changes' }),
      ),
      this.#applied,
      this.#running,
      this.#body,
      h('footer', { class: 'actions' }, this.#apply, this.#discard, this.#restore),
    );
  }

  /** Asks the server anew. */
  async refresh() {
    this.#asked += 1;
    const mine = this.#asked;
    try {
      const change = await this.#api.get(`${sessionPath(this.#session().id, 'changes')}?limit=1000`);
      if (mine === this.#asked) this.#show(change);
    } catch (problem) {
      if (mine === this.#asked)
        this.#showNone(problem.code === 'no_worktree' ? 'This session has no worktree.' : problem.message);
    }
  }

  showRunning(running) {
    this.#running.hidden = !running;
  }

  /** What was applied last, or null. */
  showApplied(applied) {
    this.#applied.hidden = !applied;
    if (applied)
      fill(
        this.#applied,
        icon('check'),
        `${applied.files.length} ${plural(applied.files.length, 'file')} applied to ${applied.to === 'branch' ? applied.branch : 'the working files'}`,
      );
  }

  /** Opens the patch of a file and brings it into view. */
  async reveal(path) {
    this.#open.add(path);
    await this.refresh();
    const row = [...this.#body.querySelectorAll('.file')].find((node) => node.dataset.path === path);
    row?.scrollIntoView({ block: 'nearest' });
    row?.querySelector('summary').focus();
  }

  #showNone(why) {
    this.#change = null;
    this.#sum.replaceChildren();
    fill(this.#body, h('p', { class: 'empty' }, why));
    for (const action of [this.#apply, this.#discard, this.#restore]) action.disabled = true;
  }

  #show(change) {
    this.#change = change;
    const { files } = change;
    fill(this.#sum, files.length ? countsOf(change) : null);
    this.#apply.disabled = this.#discard.disabled = files.length === 0;
    this.#restore.disabled = change.turn_number === 0 || change.turn_number === null;
    const rows = files.map((file) => this.#row(file));
    fill(
      this.#body,
      rows.length
        ? h(
            'div',
            { class: 'open-line' },
            `${change.files_total} open ${plural(change.files_total, 'file')}, not applied`,
          )
        : h('p', { class: 'empty' }, 'Nothing is open: the files are as at the base.'),
      rows,
      change.files_truncated
        ? h('p', { class: 'caption' }, `${change.files_total - files.length} more files are not shown.`)
        : null,
      change.pending_turns?.length
        ? h('p', { class: 'caption' }, `No snapshot yet of turn ${change.pending_turns.join(', ')}.`)
        : null,
    );
  }

  #row(file) {
    const patch = h('div', { class: 'patch' });
    const agents = [...new Set(file.touched_by.map((touch) => touch.agent))];
    const node = h(
      'details',
      { class: 'file', dataset: { path: file.path }, open: this.#open.has(file.path) },
      h(
        'summary',
        null,
        h('span', { class: `letter ${file.status}`, title: file.status }, file.status[0].toUpperCase()),
        h(
          'span',
          { class: 'path' },
          file.old_path && file.old_path !== file.path ? `${file.old_path} → ${file.path}` : file.path,
        ),
        h('span', { class: 'badges' }, (agents.length ? agents : [file.agent]).map(agentBadge)),
        countsOf(file),
      ),
      file.note ? h('div', { class: 'caption' }, file.note) : null,
      patch,
      h(
        'div',
        { class: 'actions' },
        button('Discard this file…', () => discardChanges(this.#api, this.#session(), [file.path]), {
          class: 'quiet danger',
        }),
      ),
    );
    const load = async () => {
      if (!node.open) return this.#open.delete(file.path);
      this.#open.add(file.path);
      if (file.binary) return fill(patch, h('div', { class: 'caption' }, 'Binary file.'));
      try {
        const given = await this.#api.text(
          `${sessionPath(this.#session().id, 'changes', 'patch')}?path=${encodeURIComponent(file.path)}`,
        );
        fill(
          patch,
          given.truncated
            ? h('div', { class: 'caption' }, 'Too large to show here.')
            : hunksView(parseHunks(given.text)),
        );
      } catch (problem) {
        fill(patch, h('div', { class: 'problem' }, problem.message));
      }
    };
    node.addEventListener('toggle', load);
    return node;
  }
}
