// When an agent is in trouble the web page says so and offers what can be done.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { test } from 'node:test';
import { BERTH, enter, openPage, say, setUp, until, watch } from './rig.mjs';

const { server, browser } = await setUp(({ folder }) => {
  const command = join(dirname(BERTH), '../bench/agents/berth-scripted-agent');
  return `[limits]\nstall_after = 2\n[agents.broken]\ndriver = "acp"\ncommand = "${command}"\nargs = ["--unknown", "null", "--sessions", "${folder}/broken"]\n`;
});
const page = await openPage(browser, server);

const banner = () => page.locator('.banner');

test('An agent that cannot come back asks what to do, and the turn goes on with the story', async () => {
  await server.open({ id: 'broken', agent: 'broken' });
  await enter(page, 'broken');
  await say(page, 'remember pelican\nforget');
  await page.locator('.ending').waitFor();
  await server.call('POST', 'sessions/broken/agents/broken/kill');
  await say(page, 'recall');
  await banner().getByText('broken needs a decision').waitFor();
  await page.locator('.session-head .dot.decision').waitFor();
  assert.deepEqual(await banner().getByRole('button').allTextContents(), [
    'Try again',
    'Start anew, tell it the story',
    'Give the turn up',
  ]);
  await banner().getByRole('button', { name: 'Start anew' }).click();
  await page.locator('.items .text', { hasText: 'You told me' }).waitFor();
  await page.locator('.ending').nth(1).waitFor();
  assert.equal(await banner().isVisible(), false);
});

test('An agent without a sign of life can be killed; its turn reads interrupted', async () => {
  await server.open({ id: 'wedged' });
  await enter(page, 'wedged');
  await say(page, 'hang');
  await banner().getByText('scripted shows no sign of life').waitFor();
  await banner().getByRole('button', { name: 'Kill the agent' }).click();
  await page.locator('.ending.bad', { hasText: 'interrupted' }).waitFor();
  assert.equal(await banner().isVisible(), false);
});

test('A session that is closed takes no prompts, and comes back', async () => {
  await server.open({ id: 'rest', repository: server.repository('rest') });
  await enter(page, 'rest');
  await page.getByRole('button', { name: 'Session details' }).click();
  await page.getByRole('dialog').getByRole('button', { name: 'Close', exact: true }).last().click();
  await page.locator('.notice', { hasText: 'Session closed' }).waitFor();
  await until(() => page.getByRole('textbox', { name: 'Prompt', exact: true }).isDisabled(), 'no prompts');
  await page.getByRole('button', { name: 'Session details' }).click();
  await page.getByRole('dialog').getByRole('button', { name: 'Revive' }).click();
  await page.locator('.notice', { hasText: 'open again' }).waitFor();
  await say(page, 'say awake');
  await page.locator('.items .text', { hasText: 'awake' }).waitFor();
  assert.deepEqual(page.wrongs, []);
});

test('The link that berth serve prints to a terminal opens the page', async () => {
  const words = ['serve', '--state', join(server.folder, 'printed'), '--listen', '127.0.0.1:0'];
  const script = 'import pty, sys; pty.spawn(sys.argv[1:])'; // its end hangs the terminal up, which ends berth
  const terminal = spawn('setpriv', ['--pdeathsig', 'KILL', 'python3', '-c', script, BERTH, ...words], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const ended = new Promise((resolve) => terminal.on('exit', resolve));
  try {
    let link = null;
    for await (const line of createInterface({ input: terminal.stdout })) {
      link = /^ *page +(\S+)/.exec(line)?.[1];
      if (link) break;
    }
    const fresh = await browser.newPage();
    await watch(fresh, { url: new URL(link).origin });
    await fresh.goto(link);
    await fresh.getByText('Ready when you are').waitFor();
    assert.deepEqual(fresh.wrongs, []);
  } finally {
    terminal.kill();
    await ended;
  }
});
