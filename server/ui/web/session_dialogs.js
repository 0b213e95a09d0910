// session_dialogs.js — new session, rename, and delete with what would be lost.
import { Problem, sessionPath } from './api.js';
import { confirmDialog, labelled, showDialog } from './dialog.js';
import { button, fill, h, select } from './dom.js';
import { plural } from './words.js';

const REMEMBERED = 'berth.new-session';

/** How an agent's requests are answered. */
export function permissionSelect(selected) {
  return select(
    [
      ['ask', 'Ask me'],
      ['allow', 'Allow everything'],
      ['reject', 'Reject everything'],
    ],
    selected,
  );
}

/** Asks for a session's options and opens it; resolves with the session or null. */
export function newSessionDialog(api, agents) {
  const last = JSON.parse(localStorage.getItem(REMEMBERED) ?? '{}');
  const agent = select(
    agents.map((name) => [name, name]),
    last.agent ?? 'scripted',
  );
  const mode = select(
    [
      ['worktree', 'Worktree of a repository'],
      ['overlay', 'Overlay of a repository'],
      ['directory', 'A folder as it is'],
      ['none', 'No files'],
    ],
    last.mode ?? 'worktree',
  );
  const place = h('input', {
    type: 'text',
    value: last.place ?? '',
    placeholder: '/home/me/project or https://…',
    autocomplete: 'off',
    spellcheck: false,
  });
  const base = h('input', { type: 'text', placeholder: 'HEAD', autocomplete: 'off', spellcheck: false });
  const title = h('input', { type: 'text', placeholder: 'optional', autocomplete: 'off' });
  const permission = permissionSelect(last.permission ?? 'ask');
  const problem = h('div', { class: 'problem', role: 'alert' });
  const placeField = labelled('Repository', place);
  const baseField = labelled('Base', base, 'A branch, tag or commit.');
  const arrange = () => {
    const git = mode.value === 'worktree' || mode.value === 'overlay';
    placeField.hidden = mode.value === 'none';
    placeField.querySelector('label').textContent = git ? 'Repository' : 'Folder';
    baseField.hidden = !git;
  };
  mode.addEventListener('change', arrange);
  arrange();
  return showDialog('New session', (close) => {
    const make = h('button', { type: 'submit', class: 'primary' }, 'Open session');
    const submit = async () => {
      const body = { agent: agent.value, permission: permission.value };
      if (title.value.trim()) body.title = title.value.trim();
      if (mode.value === 'directory') body.directory = place.value.trim();
      else if (mode.value !== 'none') {
        body.repository = place.value.trim();
        if (mode.value === 'overlay') body.workspace = 'overlay';
        if (base.value.trim()) body.base = base.value.trim();
      }
      make.disabled = true;
      problem.textContent = '';
      try {
        const session = await api.once('v1/sessions', body);
        localStorage.setItem(
          REMEMBERED,
          JSON.stringify({
            agent: agent.value,
            mode: mode.value,
            place: place.value,
            permission: permission.value,
          }),
        );
        close(session);
      } catch (failure) {
        problem.textContent = failure.message;
        make.disabled = false;
      }
    };
    return {
      content: [
        labelled('Agent', agent),
        labelled('Files', mode),
        placeField,
        baseField,
        labelled('Title', title),
        labelled('Permissions', permission, 'How the agent’s requests are answered.'),
        problem,
      ],
      actions: [button('Cancel', () => close(), { class: 'quiet' }), make],
      submit,
    };
  });
}

/** Resolves with the new title or null. */
export function renameDialog(title) {
  const input = h('input', { type: 'text', value: title, maxLength: 200 });
  return showDialog('Rename session', (close) => ({
    content: labelled('Title', input),
    actions: [
      button('Cancel', () => close(), { class: 'quiet' }),
      h('button', { type: 'submit', class: 'primary' }, 'Rename'),
    ],
    submit: () => close(input.value.trim()),
  }));
}

/**
 * Deletes a session. What the server's guard refuses to lose is shown, and needs a second word.
 * Resolves true if the session is gone.
 */
export async function deleteSession(api, session) {
  const name = session.title || session.id;
  if (
    !(await confirmDialog(
      'Delete session?',
      h(
        'p',
        null,
        'The conversation ',
        h('b', null, name),
        ' leaves the list. Files that are not safe elsewhere are guarded.',
      ),
      'Delete',
      { danger: true },
    ))
  )
    return false;
  let force = '0';
  for (;;) {
    try {
      await api.remove(`${sessionPath(session.id)}?force=${force}`);
      return true;
    } catch (problem) {
      if (!(problem instanceof Problem) || !['worktree_has_work', 'nested_repository'].includes(problem.code))
        throw problem;
      if (!(await guardDialog(name, problem.body ?? {}, problem.code))) return false;
      force = problem.code === 'nested_repository' ? 'nested' : '1';
    }
  }
}

function guardDialog(name, report, code) {
  const facts = [
    report.changed ? `${report.changed} changed ${plural(report.changed, 'file')} that no commit has` : null,
    report.untracked
      ? `${report.untracked} new ${plural(report.untracked, 'file')} that no commit has`
      : null,
    report.unpushed
      ? `${report.unpushed} ${plural(report.unpushed, 'commit')} that no other branch or remote has`
      : null,
    report.open_change?.files
      ? `${report.open_change.files} ${plural(report.open_change.files, 'file')} that were not applied`
      : null,
    report.nested?.length ? `a repository inside: ${report.nested.join(', ')}` : null,
    report.running ? 'a turn that is running now' : null,
    report.unknown ? `something that berth could not look at: ${report.reason}` : null,
  ].filter(Boolean);
  const box = h('input', { type: 'checkbox', id: 'guard-agree' });
  return showDialog('This worktree has work', (close) => {
    const go = h('button', { type: 'submit', class: 'danger', disabled: true }, 'Delete anyway');
    box.addEventListener('change', () => {
      go.disabled = !box.checked;
    });
    return {
      content: [
        h('p', null, h('b', null, name), ' holds what is nowhere else:'),
        h(
          'ul',
          { class: 'guard-list' },
          facts.length
            ? facts.map((fact) => h('li', null, fact))
            : h('li', null, report.reason ?? 'unsaved work'),
        ),
        report.branch ? h('p', { class: 'caption' }, `Branch ${report.branch}`) : null,
        h(
          'p',
          { class: 'caption' },
          code === 'nested_repository'
            ? 'The repository inside cannot be kept in a salvage commit.'
            : 'A salvage commit is kept for a while, but nothing in the list leads to it.',
        ),
        h('label', { class: 'check', htmlFor: 'guard-agree' }, box, ' I do not need it'),
      ],
      actions: [button('Keep the session', () => close(), { class: 'primary' }), go],
      submit: () => {
        if (box.checked) close(true);
      },
    };
  });
}

/** The list of files of a dry run, for discard and restore. */
export function dryRunList(files) {
  const list = h('ul', { class: 'dry-run' });
  return fill(
    list,
    files.length
      ? files.map((file) =>
          h(
            'li',
            null,
            h('span', { class: file.removed ? 'minus' : 'plus' }, file.removed ? 'remove ' : 'write '),
            h('span', { class: 'path' }, file.path),
          ),
        )
      : h('li', { class: 'caption' }, 'Nothing would change.'),
  );
}
