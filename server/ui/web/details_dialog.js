// details_dialog.js — all about one session: where it works, its agents and usage, and what can be
// done with it.
import { sessionPath } from './api.js';
import { labelled, showDialog } from './dialog.js';
import { button, fill, h } from './dom.js';
import { deleteSession, permissionSelect, renameDialog } from './session_dialogs.js';
import { attempt } from './toast.js';
import { agentBadge } from './words.js';

/** `calls`: changed() after something was done, gone() after it was deleted. */
export function detailsDialog(api, session, calls) {
  const agents = h('div', { class: 'agents' }, h('p', { class: 'caption' }, 'Loading…'));
  const load = () =>
    attempt(async () => {
      const [bound, usage] = await Promise.all([
        api.get(sessionPath(session.id, 'agents')),
        api.get(`${sessionPath(session.id, 'usage')}?limit=1`),
      ]);
      fill(agents, agentTable(api, session, bound.agents, usage, load));
    });
  load();
  const permission = permissionSelect(session.permission);
  permission.addEventListener('change', () =>
    attempt(() => api.send('PUT', sessionPath(session.id, 'permission'), { permission: permission.value })),
  );
  return showDialog(
    session.title || session.id,
    (close) => {
      const act = (text, action, props) =>
        button(
          text,
          async () => {
            if (await attempt(action)) {
              close();
              calls.changed();
            }
          },
          { class: 'quiet', ...props },
        );
      const verb = (text, name) => act(text, () => api.send('POST', sessionPath(session.id, name)));
      const remove = async () => {
        close();
        await attempt(async () => {
          if (await deleteSession(api, session)) calls.gone();
        });
      };
      const rename = async () => {
        close();
        const title = await renameDialog(session.title);
        if (title !== null && (await attempt(() => api.send('PATCH', sessionPath(session.id), { title }))))
          calls.changed();
      };
      return {
        content: [
          facts(session),
          labelled('Permissions', permission),
          h('h3', null, 'Agents and usage'),
          agents,
        ],
        actions: [
          button('Rename…', rename, { class: 'quiet' }),
          session.state === 'closed' ? verb('Revive', 'revive') : null,
          session.state === 'open' ? verb('Close', 'close') : null,
          session.state === 'archived'
            ? verb('Unarchive', 'unarchive')
            : session.state === 'open'
              ? verb('Archive', 'archive')
              : null,
          h('span', { class: 'spacer' }),
          button('Delete…', remove, { class: 'danger quiet' }),
        ],
      };
    },
    { wide: true },
  );
}

function facts(session) {
  const { workspace } = session;
  const rows = [
    ['Session', session.id],
    ['Files', workspace.mode === 'none' ? 'none' : workspace.mode],
    ['Repository', workspace.url ?? workspace.repository],
    ['Branch', workspace.branch],
    ['Base', workspace.base_commit?.slice(0, 12)],
    ['Folder', workspace.directory],
    ['Kept', workspace.kept],
  ].filter(([, value]) => value);
  return h(
    'dl',
    { class: 'facts' },
    rows.map(([name, value]) => [h('dt', null, name), h('dd', null, value)]),
  );
}

function agentTable(api, session, bound, usage, reload) {
  const sums = new Map(usage.agents.map((row) => [row.agent, row]));
  if (!bound.length) return h('p', { class: 'caption' }, 'No agent has worked here yet.');
  const number = (value) => (value ?? 0).toLocaleString('en');
  const cost = (list) =>
    (list ?? []).map(({ amount, currency }) => `${amount.toFixed(4)} ${currency}`).join(', ') || '—';
  const row = (agent) => {
    const used = sums.get(agent.agent);
    const context = used?.context ? `${Math.round((100 * used.context.used) / used.context.size)} %` : '—';
    return h(
      'tr',
      null,
      h('td', null, agentBadge(agent.agent)),
      h(
        'td',
        null,
        agent.state.replace('_', ' '),
        agent.health !== 'well' ? ` (${agent.health_reason ?? agent.health})` : '',
      ),
      h(
        'td',
        null,
        agent.next ? h('span', { class: 'chip', dataset: { next: agent.next } }, agent.next) : '—',
      ),
      h('td', { class: 'number' }, number(used?.usage.turns)),
      h('td', { class: 'number' }, number(used?.usage.inputTokens)),
      h('td', { class: 'number' }, number(used?.usage.outputTokens)),
      h('td', { class: 'number' }, context),
      h('td', { class: 'number' }, cost(used?.usage.cost)),
      h(
        'td',
        null,
        agent.pid
          ? button(
              'Kill',
              async () => {
                await attempt(() => api.send('POST', sessionPath(session.id, 'agents', agent.agent, 'kill')));
                reload();
              },
              { class: 'quiet danger small' },
            )
          : null,
      ),
    );
  };
  const head = ['Agent', 'State', 'Next prompt', 'Turns', 'In', 'Out', 'Context', 'Cost', ''];
  return h(
    'div',
    { class: 'table-wrap' },
    h(
      'table',
      { class: 'usage' },
      h(
        'thead',
        null,
        h(
          'tr',
          null,
          head.map((name) => h('th', null, name)),
        ),
      ),
      h('tbody', null, bound.map(row)),
      h(
        'tfoot',
        null,
        h(
          'tr',
          null,
          h('td', { colSpan: 3 }, 'Session'),
          h('td', { class: 'number' }, number(usage.session.turns)),
          h('td', { class: 'number' }, number(usage.session.inputTokens)),
          h('td', { class: 'number' }, number(usage.session.outputTokens)),
          h('td', null),
          h('td', { class: 'number' }, cost(usage.session.cost)),
          h('td', null),
        ),
      ),
    ),
  );
}
