// change_dialogs.js — apply, discard and restore: each shows first what it would do.
import { sessionPath } from './api.js';
import { confirmDialog, labelled, showDialog } from './dialog.js';
import { button, fill, h, select } from './dom.js';
import { dryRunList } from './session_dialogs.js';
import { own } from './table.js';
import { attempt, toast } from './toast.js';
import { plural } from './words.js';

const CONFLICTS = {
  content: 'both changed it',
  deleted_here: 'deleted here, changed there',
  deleted_there: 'deleted there, changed here',
  added_by_both: 'added by both',
  local_changes: 'it has changes of its own there',
  other: 'cannot be merged',
};
const BRANCH = 'berth.apply-branch';

/** Applies the open change to a branch or to the working files. */
export function applyDialog(api, session, files) {
  const branchName = h('input', {
    type: 'text',
    value: localStorage.getItem(BRANCH) ?? 'main',
    autocomplete: 'off',
    spellcheck: false,
  });
  const where = (value, text, checked) =>
    h(
      'label',
      { class: 'check' },
      h('input', { type: 'radio', name: 'to', value, checked, on: { change: () => look() } }),
      ` ${text}`,
    );
  const targets = h(
    'div',
    { class: 'targets', role: 'radiogroup', 'aria-label': 'Where to' },
    where('branch', 'A commit on a branch', true),
    where('working_files', 'The working files of the repository', false),
  );
  const boxes = files.map((file) =>
    h('input', { type: 'checkbox', checked: true, value: file.path, on: { change: () => look() } }),
  );
  const message = h('textarea', { rows: 2, placeholder: session.title || 'What this change does' });
  const report = h('div', { class: 'dry-report', role: 'status' });
  const branchField = labelled('Branch', branchName);
  const messageField = labelled('Message', message);
  const order = (dryRun) => {
    const to = targets.querySelector('input:checked').value;
    const body = { to, dry_run: dryRun };
    if (to === 'branch') {
      body.branch = branchName.value.trim();
      if (message.value.trim()) body.message = message.value.trim();
    }
    const paths = boxes.filter((box) => box.checked).map((box) => box.value);
    if (paths.length < boxes.length) body.paths = paths;
    return body;
  };
  let go;
  let looking = 0;
  const look = async () => {
    looking += 1;
    const mine = looking;
    const body = order(true);
    branchField.hidden = messageField.hidden = body.to !== 'branch';
    go.disabled = true;
    if (body.paths?.length === 0) return fill(report, 'Choose a file.');
    try {
      const found = await api.send('POST', sessionPath(session.id, 'changes', 'apply'), body);
      if (mine !== looking) return;
      fill(
        report,
        found.unchanged
          ? 'All of it is there already.'
          : `No conflicts: ${found.files.length} ${plural(found.files.length, 'file')} to ${body.to === 'branch' ? body.branch : 'the working files'}.`,
      );
      go.disabled = false;
    } catch (problem) {
      if (mine === looking) showConflicts(report, problem);
    }
  };
  branchName.addEventListener('change', look);
  return showDialog('Apply changes', (close) => {
    go = h('button', { type: 'submit', class: 'primary' }, 'Apply');
    const submit = async () => {
      go.disabled = true;
      try {
        const done = await api.send('POST', sessionPath(session.id, 'changes', 'apply'), order(false));
        if (done.to === 'branch') localStorage.setItem(BRANCH, done.branch);
        close(done);
      } catch (problem) {
        showConflicts(report, problem);
      }
    };
    look();
    return {
      content: [
        targets,
        branchField,
        messageField,
        h(
          'fieldset',
          null,
          h('legend', null, 'Files'),
          h(
            'div',
            { class: 'file-checks' },
            files.map((file, i) =>
              h('label', { class: 'check' }, boxes[i], h('span', { class: 'path' }, ` ${file.path}`)),
            ),
          ),
        ),
        report,
      ],
      actions: [button('Cancel', () => close(), { class: 'quiet' }), go],
      submit,
    };
  });
}

function showConflicts(report, problem) {
  const conflicts = problem.body?.conflicts ?? [];
  fill(
    report,
    h(
      'div',
      { class: 'problem', role: 'alert' },
      conflicts.length
        ? `${conflicts.length} ${plural(conflicts.length, 'conflict')}; nothing was changed.`
        : problem.message,
    ),
    h(
      'ul',
      { class: 'conflicts' },
      conflicts.map((conflict) =>
        h(
          'li',
          null,
          h('span', { class: 'path' }, conflict.path),
          ` — ${own(CONFLICTS, conflict.reason) ?? conflict.reason}`,
        ),
      ),
    ),
  );
}

/** Takes files back to the baseline; `paths` null: all. */
export async function discardChanges(api, session, paths) {
  const path = sessionPath(session.id, 'changes', 'discard');
  await attempt(async () => {
    const scope = paths ? { paths } : {};
    const plan = await api.send('POST', path, { ...scope, dry_run: true });
    const content = [
      h('p', null, 'These files go back to how they were at the base. A salvage commit is kept.'),
      dryRunList(plan.files),
    ];
    if (!(await confirmDialog('Discard changes?', content, 'Discard', { danger: true }))) return;
    const done = await api.send('POST', path, { ...scope, dry_run: false });
    toast(`Discarded ${done.files.length} ${plural(done.files.length, 'file')}.`);
  });
}

/** Takes the worktree back to how it was after a turn. */
export function restoreDialog(api, session, turns) {
  const choice = select([
    ...turns.map((turn) => [turn.number, `After turn ${turn.number}: ${turn.text.slice(0, 60)}`]),
    [0, 'The very beginning'],
  ]);
  const report = h('div', { role: 'status' });
  const path = sessionPath(session.id, 'changes', 'restore');
  return showDialog('Restore files', (close) => {
    const go = h('button', { type: 'submit', class: 'danger' }, 'Restore');
    const look = async () => {
      go.disabled = true;
      try {
        const plan = await api.send('POST', path, { turn: Number(choice.value), dry_run: true });
        fill(report, dryRunList(plan.files));
        go.disabled = plan.files.length === 0;
      } catch (problem) {
        fill(report, h('div', { class: 'problem' }, problem.message));
      }
    };
    choice.addEventListener('change', look);
    look();
    return {
      content: [
        labelled(
          'To',
          choice,
          'The conversation stays; what is in the files now is kept in a salvage commit.',
        ),
        report,
      ],
      actions: [button('Cancel', () => close(), { class: 'quiet' }), go],
      submit: async () => {
        if (await attempt(() => api.send('POST', path, { turn: Number(choice.value), dry_run: false })))
          close(true);
      },
    };
  });
}
