// Several people, one session; and a server that dies under them.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { enter, openPage, say, setUp, shownSeq, until } from './rig.mjs';

const { server, browser } = await setUp();

/** What the transcript says, without what depends on the moment it was looked at. */
const transcriptOf = (page) => page.locator('.items').evaluate((list) => list.innerText.replace(/\s+/g, ' '));
/** Words without what Markdown makes of them: blanks and headings. */
const bare = (text) => text.replace(/[\s#]+/g, '');
/** All that agents said in a session, by the page and by the log. */
const saidOn = (page) =>
  page.locator('.items .text').evaluateAll((nodes) => nodes.map((node) => node.textContent).join(''));
const saidIn = (log) =>
  log
    .filter(({ type, data }) => type === 'update' && data.sessionUpdate === 'agent_message_chunk')
    .map(({ data }) => data.content.text)
    .join('');
const shown = (page, seq) => until(async () => (await shownSeq(page)) >= seq, `event ${seq} on the page`);

test('Two tabs see the same and answer one permission: one wins', async () => {
  await server.open({ id: 'pair', repository: server.repository() });
  const one = await openPage(browser, server);
  const two = await one.context().newPage();
  await two.goto(server.link);
  await Promise.all([enter(one, 'pair'), enter(two, 'pair')]);
  await say(one, 'say before\nask write a.txt text\nsay after');
  // Both have clicked before either answer is on its way.
  const held = [];
  for (const page of [one, two]) await page.route('**/interactions/int_*', (route) => held.push(route));
  await one.getByRole('button', { name: 'Allow once' }).click();
  await two.getByRole('button', { name: 'Reject once' }).click();
  await until(() => held.length === 2, 'two answers');
  const tooLate = (page) =>
    page
      .getByText('Somebody else has answered this already.')
      .waitFor()
      .then(() => page);
  const told = Promise.any([one, two].map(tooLate));
  for (const route of held) await route.continue();
  const loser = await told;
  for (const page of [one, two]) {
    await page.locator('.question .answered').waitFor();
    await page.locator('.ending').waitFor();
    assert.equal(await page.locator('.question button').count(), 0);
  }
  const log = await server.log('pair');
  const closed = log.filter(({ type }) => type === 'interaction.closed');
  assert.equal(closed.length, 1);
  const winner = closed[0].data.answer.option_id === 'yes' ? 'Allow once' : 'Reject once';
  assert.equal(loser, winner === 'Allow once' ? two : one);
  await Promise.all([shown(one, log.at(-1).seq), shown(two, log.at(-1).seq)]);
  for (const page of [one, two]) assert.match(await transcriptOf(page), new RegExp(`${winner} ?by user`));
  assert.equal(await transcriptOf(one), await transcriptOf(two));
  assert.deepEqual(one.wrongs, []);
  await one.context().close();
});

test('Killed in mid-turn and started again, the server has told both tabs all of the log', async () => {
  await server.open({ id: 'survivor' });
  const one = await openPage(browser, server);
  const two = await one.context().newPage();
  await two.goto(server.link);
  await Promise.all([enter(one, 'survivor'), enter(two, 'survivor')]);
  await say(one, 'stream 100000 40 400');
  await shown(one, 200);
  await server.kill();
  await one.locator('.connection', { hasText: 'Connection lost' }).waitFor();
  await server.start();
  for (const page of [one, two]) await page.locator('.ending', { hasText: 'interrupted' }).waitFor();
  await say(two, 'say and on it goes');
  for (const page of [one, two]) await page.locator('.ending').nth(1).waitFor();
  const log = await server.log('survivor');
  for (const page of [one, two]) {
    await shown(page, log.at(-1).seq);
    assert.equal(await page.locator('.transcript').getAttribute('data-gaps'), '0');
    assert.ok(bare(await saidOn(page)) === bare(saidIn(log)), 'the page says what the log says');
    assert.equal(await page.locator('.connection').isVisible(), false);
  }
  console.log(
    `figure: ${log.length} events over a kill -9, ${saidIn(log).length} characters the same on both tabs`,
  );
  assert.deepEqual(one.wrongs, []);
  await one.context().close();
});

test('A tab that is hidden keeps no connection, and has missed nothing when it is seen again', async () => {
  await server.open({ id: 'hidden' });
  const page = await openPage(browser, server);
  await enter(page, 'hidden');
  const clients = async () => (await server.call('GET', 'info')).sse_clients;
  const before = await until(clients, 'a stream');
  const hide = (hidden) =>
    page.evaluate((value) => {
      Object.defineProperty(document, 'hidden', { value, configurable: true });
      document.dispatchEvent(new Event('visibilitychange'));
    }, hidden);
  await hide(true);
  await until(async () => (await clients()) < before, 'one stream less');
  await server.prompt('hidden', 'say nobody looks');
  assert.equal(await page.locator('.items .text').count(), 0);
  await hide(false);
  await page.locator('.items .text', { hasText: 'nobody looks' }).waitFor();
  assert.equal(await page.locator('.transcript').getAttribute('data-gaps'), '0');
  assert.deepEqual(page.wrongs, []);
  await page.context().close();
});

test('What one tab opens, the list of another shows', async () => {
  const one = await openPage(browser, server);
  const two = await openPage(browser, server);
  await server.open({ id: 'fresh', title: 'A fresh one' });
  for (const page of [one, two]) await page.locator('.session-list a', { hasText: 'A fresh one' }).waitFor();
  await one.context().close();
  await two.context().close();
});
