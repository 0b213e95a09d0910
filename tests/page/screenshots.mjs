// screenshots.mjs — makes the pictures of docs/screenshots: `node tests/page/screenshots.mjs`.
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { ECHO_AGENT, enter, launchBrowser, openPage, orders, ROOT, Server } from './rig.mjs';

const FOLDER = process.argv[2] ?? join(ROOT, 'docs', 'screenshots');
const PIER = `class Pier:
    def __init__(self, length):
        self.length = length
        self.ships = []

    def fits(self, ship):
        free = self.length - sum(s.length for s in self.ships)
        return ship.length < free

    def moor(self, ship):
        if not self.fits(ship):
            raise ValueError("no room")
        self.ships.append(ship)
`;
const FIXED = PIER.replace('ship.length < free', 'ship.length <= free');
const TEST = `from pier import Pier
from ship import Ship


def test_a_ship_as_long_as_the_pier_fits():
    assert Pier(120).fits(Ship(120))
`;

const words = (kind, text) => ({ sessionUpdate: kind, content: { type: 'text', text } });
const call = (toolCallId, title, kind, content, more = {}) => [
  { sessionUpdate: 'tool_call', toolCallId, title, kind, status: 'in_progress', ...more },
  { sessionUpdate: 'tool_call_update', toolCallId, status: 'completed', content },
];
const output = (text) => [{ type: 'content', content: { type: 'text', text } }];
const plan = (...states) => ({
  sessionUpdate: 'plan',
  entries: [
    'Find out why the ship is refused',
    'Correct the comparison',
    'Add a test for the edge',
    'Run the tests',
  ].map((content, i) => ({ content, priority: 'medium', status: states[i] })),
});

const WORK = [
  words(
    'agent_thought_chunk',
    'A ship of exactly the free length should fit. fits() compares with <, which refuses it. I should check who else relies on that.',
  ),
  words(
    'agent_message_chunk',
    'The comparison in `Pier.fits` is strict, so a ship that is **exactly** as long as the free space is refused. I will correct it and add a test.',
  ),
  plan('completed', 'in_progress', 'pending', 'pending'),
  ...call(
    'c1',
    'grep -rn "fits(" src',
    'search',
    output('src/pier.py:6:    def fits(self, ship):\nsrc/pier.py:11:        if not self.fits(ship):'),
  ),
  ...call('c2', 'Edit src/pier.py', 'edit', [
    { type: 'diff', path: 'src/pier.py', oldText: PIER, newText: FIXED },
  ]),
  { write: 'src/pier.py', text: FIXED },
  ...call('c3', 'Write tests/test_pier.py', 'edit', output('6 lines')),
  { write: 'tests/test_pier.py', text: TEST },
  plan('completed', 'completed', 'completed', 'in_progress'),
];
const ASK = {
  ask: {
    toolCall: {
      toolCallId: 'c4',
      title: 'python3 -m pytest tests',
      kind: 'execute',
      rawInput: { command: 'python3 -m pytest tests' },
    },
    options: [
      { optionId: 'once', name: 'Allow once', kind: 'allow_once' },
      { optionId: 'always', name: 'Always allow', kind: 'allow_always' },
      { optionId: 'no', name: 'Reject', kind: 'reject_once' },
    ],
  },
};
const DONE = [
  plan('completed', 'completed', 'completed', 'completed'),
  words(
    'agent_message_chunk',
    'All tests pass.\n\n| file | what |\n|---|---|\n| `src/pier.py` | `<=` in place of `<` |\n| `tests/test_pier.py` | the edge: 120 m at a pier of 120 m |\n\nNothing else relied on the old behaviour.',
  ),
];

/** A server with some sessions in the states that people meet. */
async function harbour() {
  const server = new Server();
  server.config = ECHO_AGENT.replace('agents.echo', 'agents.opencode'); // people see a name that they know
  await server.start();
  const repository = server.repository('harbour', {
    'README.md': '# harbour\n',
    'src/pier.py': PIER,
    'src/ship.py': 'class Ship:\n    def __init__(self, length):\n        self.length = length\n',
  });
  const open = (id, title, more) => server.open({ id, title, repository, agent: 'scripted', ...more });
  await open('readme', 'Describe the tariffs in the README');
  await server.prompt('readme', 'say done\nappend README.md Tariffs: by length and day.');
  await open('tides', 'Read the tide table of the port authority');
  await server.prompt('tides', 'sleep 3600000', 0);
  await open('lights', 'Lights of the north pier', { agent: 'scripted' });
  await server.prompt('lights', 'ask write lights.txt on', 0);
  await open('fits', 'A ship as long as the pier should fit', { agent: 'opencode' });
  return server;
}

async function main() {
  mkdirSync(FOLDER, { recursive: true });
  const server = await harbour();
  const browser = await launchBrowser();
  const shot = async (page, name) => {
    await page.waitForTimeout(400);
    await page.screenshot({ path: join(FOLDER, `${name}.png`) });
  };
  try {
    const desktop = await openPage(browser, server, { viewport: { width: 1360, height: 860 } });
    // The prompt of the echoing agent is for machines; people see words.
    const pretend = (page) =>
      page.evaluate(() => {
        const tell = (node) => {
          if (node.textContent.startsWith('{'))
            node.textContent =
              'A ship that is exactly as long as the pier is told “no room”. Find out why, correct it, and add a test.';
        };
        new MutationObserver(() => document.querySelectorAll('.prompt-text').forEach(tell)).observe(
          document.body,
          { subtree: true, childList: true },
        );
        document.querySelectorAll('.prompt-text').forEach(tell);
      });
    await pretend(desktop);
    await enter(desktop, 'fits');
    await server.prompt('fits', orders(...WORK, ASK, ...DONE), 0);
    await desktop.getByRole('button', { name: 'Allow once' }).waitFor();
    await server.prompt('fits', 'Mention it in the changelog, too.', 0);
    await desktop.getByRole('button', { name: 'Changes', exact: true }).waitFor();
    await shot(desktop, 'question-light');

    const phone = await openPage(browser, server, {
      viewport: { width: 390, height: 844 },
      isMobile: true,
      hasTouch: true,
      deviceScaleFactor: 1.5,
      colorScheme: 'dark',
    });
    await shot(phone, 'phone-list-dark');
    await pretend(phone);
    await enter(phone, 'fits');
    await shot(phone, 'phone-question-dark');

    const { inputs } = await server.call('GET', 'sessions/fits/inputs');
    for (const { id } of inputs) await server.call('DELETE', `sessions/fits/inputs/${id}`);
    await desktop.getByRole('button', { name: 'Allow once' }).click();
    await desktop.locator('.change').waitFor();
    await desktop.locator('.file', { hasText: 'src/pier.py' }).locator('summary').click();
    await desktop.locator('.row-add').last().waitFor();
    await desktop.emulateMedia({ colorScheme: 'dark' });
    await shot(desktop, 'changes-dark');
    await desktop.emulateMedia({ colorScheme: 'light' });
    await desktop.getByRole('button', { name: 'Apply…' }).click();
    await desktop.getByText('No conflicts').waitFor();
    await shot(desktop, 'apply-light');
    await desktop.getByRole('button', { name: 'Apply', exact: true }).click();
    await desktop.locator('.boundary').waitFor();
    await shot(desktop, 'boundary-light');
    await phone.emulateMedia({ colorScheme: 'light' });
    await shot(phone, 'phone-light');
    const wrongs = [...desktop.wrongs, ...phone.wrongs];
    if (wrongs.length) throw new Error(wrongs.join('\n'));
  } finally {
    await browser.close();
    await server.close();
  }
}

await main();
