// rig.mjs — for the tests of the web page: a real berth with a repository, and Debian's Chromium.
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { homedir, tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { after } from 'node:test';
import { fileURLToPath } from 'node:url';

export const ROOT = join(dirname(fileURLToPath(import.meta.url)), '..', '..');
/** The program under test. */
export const BERTH = process.env.BERTH ?? join(ROOT, 'build', 'server', 'berth');
const AGENTS = join(process.env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'berth', 'agents');
/** A slow machine may take so long for one step. */
export const STEP_MS = 30_000;

/** Configuration of an agent `echo`, which sends what its prompt holds (echo_agent.mjs). */
export const ECHO_AGENT = `[agents.echo]\ndriver = "acp"\ncommand = "${process.execPath}"\nargs = ["${join(ROOT, 'tests/page/echo_agent.mjs')}"]\n`;
/** A prompt for it. */
export const orders = (...list) => list.map((order) => JSON.stringify(order)).join('\n');

/** A `berth serve` with folders of its own; kill it and start it again at the same address. */
export class Server {
  folder = mkdtempSync(join(tmpdir(), 'berth-page-'));
  #listen = '127.0.0.1:0';

  async start() {
    const config = join(this.folder, 'berth.toml');
    writeFileSync(config, this.config ?? '');
    this.process = spawn(
      'setpriv',
      [
        '--pdeathsig',
        'KILL',
        BERTH,
        'serve',
        '--state',
        join(this.folder, 'state'),
        '--listen',
        this.#listen,
        '--config',
        config,
      ],
      { stdio: ['ignore', 'pipe', 'pipe'] },
    );
    let complaints = '';
    this.process.stderr.on('data', (bytes) => {
      complaints += bytes;
    });
    const lines = createInterface({ input: this.process.stdout });
    const [line] = await Promise.race([
      once(lines, 'line'),
      once(this.process, 'exit').then(() => {
        throw new Error(`berth ended: ${complaints}`);
      }),
    ]);
    const said = JSON.parse(line);
    this.url = said.url;
    this.token = readFileSync(said.token_file, 'utf8').trim();
    this.#listen = new URL(this.url).host;
    return this;
  }

  /** SIGKILL, as a crash. */
  async kill() {
    const ended = once(this.process, 'exit');
    this.process.kill('SIGKILL');
    await ended;
  }

  async close() {
    if (this.process?.exitCode === null && this.process.signalCode === null) {
      const ended = once(this.process, 'exit');
      for (const signal of ['SIGTERM', 'SIGINT']) this.process.kill(signal);
      await ended;
    }
    rmSync(this.folder, { recursive: true, force: true, maxRetries: 10 });
  }

  /** The link that `berth serve` prints to a terminal. */
  get link() {
    return `${this.url}/#token=${this.token}`;
  }

  async call(method, path, body, headers = {}) {
    const response = await fetch(`${this.url}/v1/${path}`, {
      method,
      headers: { Authorization: `Bearer ${this.token}`, ...headers },
      body: body === undefined ? undefined : JSON.stringify(body),
    });
    const text = await response.text();
    if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${text}`);
    return text ? JSON.parse(text) : null;
  }
  open(options) {
    return this.call('POST', 'sessions', options);
  }
  prompt(session, prompt, wait = 30) {
    return this.call('POST', `sessions/${session}/turns`, { prompt }, wait ? { Prefer: `wait=${wait}` } : {});
  }
  async log(session) {
    const events = [];
    for (;;) {
      const page = await this.call(
        'GET',
        `sessions/${session}/events?after=${events.at(-1)?.seq ?? 0}`,
        undefined,
        { Accept: 'application/json' },
      );
      events.push(...page.events);
      if (!page.more) return events;
    }
  }

  /** A git repository with some files and one commit. */
  repository(name = 'harbour', files = { 'README.md': '# harbour\n' }) {
    const path = join(this.folder, name);
    execFileSync('git', ['init', '-q', '-b', 'main', path]);
    this.repositoryCommit(path, files);
    return path;
  }
  /** A commit of some files, as somebody else makes it. */
  repositoryCommit(path, files) {
    for (const [file, text] of Object.entries(files)) {
      mkdirSync(dirname(join(path, file)), { recursive: true });
      writeFileSync(join(path, file), text);
    }
    this.git(path, 'add', '.');
    this.git(path, 'commit', '-q', '-m', 'Write files');
  }
  git(path, ...words) {
    return execFileSync(
      'git',
      ['-C', path, '-c', 'user.name=Test', '-c', 'user.email=test@example.org', ...words],
      { encoding: 'utf8' },
    );
  }
}

/** Waits until `condition()` gives something true, and returns that. */
export async function until(condition, what) {
  const deadline = Date.now() + STEP_MS;
  for (;;) {
    const value = await condition();
    if (value) return value;
    if (Date.now() > deadline) throw new Error(`not within ${STEP_MS} ms: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

/** Chromium, with no sandbox of its own where root runs it. */
export async function launchBrowser() {
  const library = join(AGENTS, 'page', 'node_modules', 'playwright-core');
  const executablePath = ['/usr/bin/chromium', '/usr/bin/chromium-browser'].find(existsSync);
  if (!executablePath || !existsSync(library))
    throw new Error('chromium or playwright-core is missing: ./test installs both');
  const { chromium } = createRequire(import.meta.url)(library);
  return chromium.launch({ executablePath, args: process.getuid() === 0 ? ['--no-sandbox'] : [] });
}

/** A server, with the configuration that `config(server)` gives, and a browser for all tests of a file. */
export async function setUp(config = () => '') {
  const server = new Server();
  let browser;
  after(async () => {
    await browser?.close();
    await server.close();
  });
  server.config = config(server);
  await server.start();
  browser = await launchBrowser();
  return { server, browser };
}

/**
 * A page that has opened the server's link. What must not happen on it is collected in `page.wrongs`:
 * violations of the content security policy, errors of the scripts, dialogs, requests to elsewhere.
 */
export async function openPage(browser, server, options = {}) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 800 }, ...options });
  context.setDefaultTimeout(STEP_MS);
  const page = await context.newPage();
  await watch(page, server);
  await page.goto(server.link);
  await page.getByRole('navigation', { name: 'Sessions' }).waitFor();
  return page;
}

export async function watch(page, server) {
  page.wrongs = [];
  page.on('pageerror', (error) => page.wrongs.push(`error: ${error.message}`));
  page.on('dialog', (dialog) => {
    page.wrongs.push(`dialog: ${dialog.message()}`);
    dialog.dismiss();
  });
  page.on('request', (request) => {
    if (!request.url().startsWith(server.url) && !request.url().startsWith('data:'))
      page.wrongs.push(`request: ${request.url()}`);
  });
  await page.exposeFunction('tellViolation', (what) => page.wrongs.push(`csp: ${what}`));
  await page.addInitScript(() =>
    document.addEventListener('securitypolicyviolation', (event) =>
      globalThis.tellViolation(`${event.violatedDirective} ${event.blockedURI}`),
    ),
  );
}

/** Opens a session by its entry in the list. */
export async function enter(page, id) {
  await page.locator(`.session-list a[data-id="${id}"]`).click();
  await page.locator(`.screen[data-session="${id}"][data-connection="live"]`).waitFor();
}

/** Whether the composer says what the next prompt will be; asked when it has heard of the agents. */
export async function hasChip(page) {
  await page
    .getByRole('combobox', { name: 'Agent' })
    .locator('option')
    .first()
    .waitFor({ state: 'attached' });
  return page.locator('.composer .chip').isVisible();
}

/** Writes a prompt as a person does. */
export async function say(page, text) {
  await page.getByRole('textbox', { name: 'Prompt', exact: true }).fill(text);
  await page.keyboard.press('Enter');
}

/** Sequence number that the page has shown. */
export function shownSeq(page) {
  return page.locator('.transcript').getAttribute('data-seq').then(Number);
}
