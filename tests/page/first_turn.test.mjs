// The web page from the first link to a turn with its diff, as a new user meets it.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { hasChip, openPage, ROOT, say, setUp, watch } from './rig.mjs';

const { server, browser } = await setUp();

test('The files need no token, forbid everything foreign, and are not sent twice', async () => {
  const first = await fetch(`${server.url}/`);
  assert.equal(first.status, 200);
  assert.match(first.headers.get('content-type'), /^text\/html/);
  const policy = first.headers.get('content-security-policy');
  for (const rule of [
    "default-src 'none'",
    "script-src 'self'",
    "style-src 'self'",
    "connect-src 'self'",
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
  ])
    assert.ok(policy.includes(rule), rule);
  assert.doesNotMatch(policy, /unsafe|\*/);
  for (const [name, value] of Object.entries({
    'x-content-type-options': 'nosniff',
    'referrer-policy': 'no-referrer',
    'cross-origin-opener-policy': 'same-origin',
    'cross-origin-resource-policy': 'same-origin',
    'cache-control': 'no-cache',
  }))
    assert.equal(first.headers.get(name), value, name);
  assert.equal(await first.text(), readFileSync(join(ROOT, 'server/ui/web/index.html'), 'utf8'));
  const again = await fetch(`${server.url}/`, {
    headers: { 'If-None-Match': `"other", W/${first.headers.get('etag')}` },
  });
  assert.equal(again.status, 304);
  assert.equal(await again.text(), '');
  const other = await fetch(`${server.url}/`, { headers: { 'If-None-Match': '"other"' } });
  assert.equal(other.status, 200);
  assert.match((await fetch(`${server.url}/ui/app.js`)).headers.get('content-type'), /^text\/javascript/);
  for (const path of ['/ui/../token', '/index.html', '/v1/sessions'])
    assert.equal((await fetch(server.url + path)).status, 401, path);
  assert.equal((await fetch(`${server.url}/`, { method: 'POST' })).status, 401);
  assert.equal((await fetch(`${server.url}/ui/nothing.js`)).status, 404);
  const head = await fetch(`${server.url}/ui/page.css`, { method: 'HEAD' });
  assert.equal(
    Number(head.headers.get('content-length')),
    readFileSync(join(ROOT, 'server/ui/web/page.css')).length,
  );
});

test('Without a token it asks for one, refuses a wrong one, and remembers on wish', async () => {
  const context = await browser.newContext();
  const page = await context.newPage();
  await watch(page, server);
  await page.goto(server.url);
  await page.getByLabel('Token').fill('wrong');
  await page.getByRole('button', { name: 'Continue' }).click();
  await page.getByText('does not take this token').waitFor();
  await page.getByLabel('Token').fill(server.token);
  await page.getByLabel('Remember on this device').check();
  await page.getByRole('button', { name: 'Continue' }).click();
  await page.getByText('Ready when you are').waitFor();
  const later = await context.newPage(); // another tab shares what is remembered, and nothing else
  await later.goto(server.url);
  await later.getByText('Ready when you are').waitFor();
  assert.deepEqual(page.wrongs, []);
  await context.close();
});

test('From the printed link to a first turn with its diff', async () => {
  const repository = server.repository('harbour', {
    'README.md': '# harbour\n',
    'pier.txt': 'one\ntwo\nthree\n',
  });
  const page = await openPage(browser, server);
  assert.equal(page.url(), `${server.url}/`, 'the address shows the token no more');
  await page.getByRole('button', { name: 'New session' }).first().click();
  const dialog = page.getByRole('dialog', { name: 'New session' });
  await dialog.getByLabel('Repository').fill('/nowhere');
  await dialog.getByRole('button', { name: 'Open session' }).click();
  await dialog.getByRole('alert').filter({ hasText: '/nowhere' }).waitFor();
  await dialog.getByLabel('Repository').fill(repository);
  await dialog.getByLabel('Title').fill('A longer pier');
  await dialog.getByRole('button', { name: 'Open session' }).click();
  await page.locator('.session-head').getByText('A longer pier').waitFor();
  assert.equal(await hasChip(page), false, 'no chip on an empty session');

  await say(page, 'think about piers\nsay The pier is **longer** now.\nwrite pier.txt one\nplan Look, Build');
  const transcript = page.getByRole('log', { name: 'Transcript' });
  await transcript.locator('strong', { hasText: 'longer' }).waitFor();
  await transcript
    .locator('.tool', { hasText: 'write pier.txt' })
    .locator('.tool-status', { hasText: 'done' })
    .waitFor();
  await transcript.locator('.plan', { hasText: '2 of 2' }).waitFor();
  const thought = transcript.locator('details.thought');
  assert.equal(await thought.evaluate((node) => node.open), false, 'thoughts are folded');
  await thought.locator('summary').click();
  await thought.getByText('about piers').last().waitFor();
  await page.locator('.chip', { hasText: 'live' }).waitFor();

  await transcript.getByRole('button', { name: /pier\.txt/ }).click();
  const changes = page.getByRole('complementary', { name: 'Changes' });
  await changes.locator('.badge', { hasText: 'scripted' }).waitFor();
  await changes.locator('.row-del', { hasText: 'three' }).waitFor();
  await changes.locator('.row-same', { hasText: 'one' }).waitFor();
  assert.deepEqual(page.wrongs, []);
  await page.context().close();
});
