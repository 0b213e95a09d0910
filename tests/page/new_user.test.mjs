// A new user's first minutes: `./run` as README says, its link in a browser, and a first turn with its diff.
import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { launchBrowser, ROOT, say } from './rig.mjs';

const MINUTES_MAX = 5;
const folder = mkdtempSync(join(tmpdir(), 'berth-new-user-'));
after(() => rmSync(folder, { recursive: true, force: true, maxRetries: 10 }));

/** What README shows for a terminal: the command that starts the server, here with folders of this test. */
function commandOfReadme() {
  const readme = readFileSync(join(ROOT, 'README.md'), 'utf8');
  const [command] = readme.match(/^ {4}\.\/run(?= {2,}starts the server)/m);
  assert.match(readme, /prints where it listens, and the link of its page/);
  return command.trim();
}

/** Runs it in a terminal, as people do, and gives the link that it prints there. */
async function linkInATerminal(command) {
  const started = spawn('setpriv', ['--pdeathsig', 'KILL', 'script', '-qec', command, '/dev/null'], {
    cwd: ROOT,
    env: { ...process.env, BERTH_STATE: join(folder, 'state'), BERTH_LISTEN: '127.0.0.1:0' },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  after(async () => {
    if (started.exitCode !== null) return;
    const ended = once(started, 'exit');
    const { pid } = await (await fetch(new URL('/v1/info', link), { headers: bearer(link) })).json();
    for (const signal of ['SIGTERM', 'SIGINT']) process.kill(pid, signal);
    await ended;
  });
  let shown = '';
  let link;
  for await (const bytes of started.stdout) {
    shown += bytes;
    link = shown.match(/^ *page +(\S+)/m)?.[1];
    if (link) break;
  }
  assert.ok(link, shown);
  return link;
}

const bearer = (link) => ({ Authorization: `Bearer ${new URL(link).hash.replace('#token=', '')}` });

test('From the command of README to a diff in the browser', async () => {
  const began = performance.now();
  const link = await linkInATerminal(commandOfReadme());
  const repository = join(folder, 'mine');
  const git = (...words) => execFileSync('git', ['-C', repository, '-c', 'user.name=N', '-c', 'user.email=n@example.org', ...words]);
  execFileSync('git', ['init', '-q', '-b', 'main', repository]);
  git('commit', '-q', '--allow-empty', '-m', 'Begin');

  const browser = await launchBrowser();
  after(() => browser.close());
  const page = await browser.newPage();
  await page.goto(link);
  await page.getByRole('button', { name: 'New session' }).first().click();
  const dialog = page.getByRole('dialog', { name: 'New session' });
  await dialog.getByLabel('Repository').fill(repository);
  await dialog.getByRole('button', { name: 'Open session' }).click();
  await say(page, 'say Hello, new user.\nwrite hello.txt it works');
  const transcript = page.getByRole('log', { name: 'Transcript' });
  await transcript.getByText('Hello, new user.', { exact: true }).waitFor();
  await transcript.getByRole('button', { name: /hello\.txt/ }).click();
  const changes = page.getByRole('complementary', { name: 'Changes' });
  await changes.locator('.row-add', { hasText: 'it works' }).waitFor();

  const seconds = (performance.now() - began) / 1000;
  console.log(`figure: from ./run to a diff in the browser: ${seconds.toFixed(1)} s`);
  assert.ok(seconds < MINUTES_MAX * 60, `${seconds} s`);
});
