// A day's work on the web page: queue, agents, changes, questions, the end of a session.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { enter, hasChip, openPage, say, setUp, until } from './rig.mjs';

const { server, browser } = await setUp(() => '[agents.second]\nlike = "scripted"\n');
const page = await openPage(browser, server);

const queued = () => page.locator('.queue .queue-text').allTextContents();
const endings = (count) =>
  until(async () => (await page.locator('.ending').count()) >= count, `${count} endings`);
const button = (name, within = page) => within.getByRole('button', { name });
const dialog = (name) => page.getByRole('dialog', { name });
const changes = () => page.getByRole('complementary', { name: 'Changes' });

test('What waits can be edited, ordered, removed and sent now; a stop holds the rest', async () => {
  await server.open({ id: 'queue' });
  await enter(page, 'queue');
  await say(page, 'sleep 600000');
  await button('Stop').waitFor();
  for (const text of ['say one', 'say two', 'say three', 'say four']) await say(page, text);
  await until(async () => (await queued()).length === 4, 'four in the queue');
  await button('Move up: say three').click();
  await until(async () => (await queued()).join() === 'say one,say three,say two,say four', 'another order');
  await button('Edit: say one').click();
  await page.locator('.queue textarea').fill('say uno');
  await page.keyboard.press('Enter');
  await until(async () => (await queued())[0] === 'say uno', 'the edited one');
  await button('Remove: say two').click();
  await until(async () => (await queued()).length === 3, 'one less');
  assert.deepEqual(await queued(), ['say uno', 'say three', 'say four']);

  await button('Send now: say four').click(); // stops the one that runs
  await page.locator('.items .text', { hasText: 'four' }).waitFor();
  const rest = await queued();
  const held = page.locator('.queue').getByRole('button', { name: 'Go on' });
  await until(
    async () => (await held.isVisible()) || (await queued()).length === 0,
    'a held or finished queue',
  );
  if (await held.isVisible()) await held.click();
  await page.locator('.items .text', { hasText: 'three' }).waitFor();
  const said = await page.locator('.items .text').allTextContents();
  assert.deepEqual(
    said.map((text) => text.trim()),
    ['four', 'uno', 'three'],
    `rest was ${rest}`,
  );
  await until(async () => !(await page.locator('.queue').isVisible()), 'an empty queue is not shown');
});

test('A stop ends the turn, keeps what waits, and that goes on when told to', async () => {
  await server.open({ id: 'stop' });
  await enter(page, 'stop');
  await say(page, 'sleep 600000');
  await say(page, 'say later');
  await page.locator('.queue', { hasText: 'say later' }).waitFor();
  await page.keyboard.press('Shift+Escape');
  await page.locator('.ending', { hasText: 'cancelled' }).waitFor();
  await page.locator('.queue', { hasText: 'held' }).waitFor();
  await button('Go on').click();
  await page.locator('.items .text', { hasText: 'later' }).waitFor();
});

test('Another agent takes a prompt; its chip says what it will know', async () => {
  await server.open({ id: 'agents', agent: 'scripted' });
  await enter(page, 'agents');
  const chip = page.locator('.composer .chip');
  assert.equal(await hasChip(page), false, 'no chip on an empty session');
  await say(page, 'remember harbour');
  await endings(1);
  await until(async () => (await chip.textContent()) === 'live', 'live');
  await page.getByRole('combobox', { name: 'Agent' }).selectOption('second');
  await until(async () => (await chip.textContent()) === 'history', 'history for one that joins late');
  await say(page, 'say hello');
  await endings(2);
  await page.locator('.notice', { hasText: 'was told what it did not know' }).waitFor();
  await server.call('POST', 'sessions/agents/agents/scripted/kill');
  await page.getByRole('combobox', { name: 'Agent' }).selectOption('scripted');
  await until(async () => (await chip.textContent()) === 'resumed', 'resumed after its process is gone');
});

test('A form is filled in, checked, and its answer shows', async () => {
  await server.open({ id: 'form' });
  await enter(page, 'form');
  await say(page, 'elicit Which colour?');
  await page.getByText('Which colour?').last().waitFor();
  await page.getByLabel('color').selectOption('blue');
  await button('Submit').click();
  await page.locator('.items .text', { hasText: '"color":"blue"' }).waitFor();
  await page.locator('.answered', { hasText: 'accept' }).waitFor();
});

test('Applied is what is above the boundary, open what is below; conflicts change nothing', async () => {
  const repository = server.repository('apply', { 'a.txt': 'one\n', 'b.txt': 'two\n' });
  await server.open({ id: 'apply', repository });
  await enter(page, 'apply');
  await say(page, 'write a.txt ours');
  await page.locator('.change', { hasText: 'a.txt' }).waitFor();
  await button('Apply…').click();
  await dialog('Apply changes').getByText('No conflicts').waitFor();
  await dialog('Apply changes').getByLabel('Message').fill('Our a');
  await button('Apply', dialog('Apply changes')).click();
  await page.getByRole('separator', { name: /Applied to main, 1 file/ }).waitFor();
  await changes().getByText('Nothing is open').waitFor();
  assert.equal(server.git(repository, 'log', '-1', '--format=%s', 'main').trim(), 'Our a');
  assert.equal(readFileSync(join(repository, 'a.txt'), 'utf8'), 'ours\n', 'the checkout follows');

  await say(page, 'write b.txt ours');
  await page.locator('.change', { hasText: 'b.txt' }).waitFor();
  const kinds = await page
    .locator('.items > .change, .items > .boundary')
    .evaluateAll((nodes) => nodes.map((node) => node.classList[1]));
  assert.deepEqual(kinds, ['change', 'boundary', 'change'], 'the boundary stands between applied and open');
  await changes().getByText('1 open file, not applied').waitFor();
  await changes().getByText('1 file applied to main').waitFor();

  server.repositoryCommit(repository, { 'b.txt': 'theirs\n' });
  await button('Apply…').click();
  await dialog('Apply changes').getByText('both changed it').waitFor();
  assert.equal(await button('Apply', dialog('Apply changes')).isDisabled(), true);
  assert.equal(readFileSync(join(repository, 'b.txt'), 'utf8'), 'theirs\n');
  await page.keyboard.press('Escape');

  await button('Discard…').click();
  await dialog('Discard changes?').getByText('b.txt').waitFor();
  await button('Discard', dialog('Discard changes?')).click();
  await changes().getByText('Nothing is open').waitFor();
});

test('While a turn runs nothing is claimed of its files, and the list says in words who is wanted', async () => {
  await server.open({ id: 'running', repository: server.repository('running') });
  await enter(page, 'running');
  await say(page, 'write a.txt ours\nask write b.txt ours');
  await page.locator('.session-list a[data-id="running"] b', { hasText: 'needs you' }).waitFor();
  if (!(await changes().isVisible())) await button(/^Changes/).click();
  await changes().getByText('A turn is running').waitFor();
  assert.equal(await changes().getByText('Nothing is open').isVisible(), false, 'a.txt is changed already');
  await button('Allow').first().click();
  await changes().getByText('2 open files, not applied').waitFor();
  assert.equal(await changes().getByText('A turn is running').isVisible(), false);
  await page.locator('.session-list a[data-id="running"] b').waitFor({ state: 'detached' });
});

test('Files go back to how they were after a turn, after a look at what that means', async () => {
  await server.open({ id: 'restore', repository: server.repository('restore') });
  await enter(page, 'restore');
  await say(page, 'write first.txt 1');
  await page.locator('.change', { hasText: 'first.txt' }).waitFor();
  await say(page, 'write second.txt 2');
  await page.locator('.change', { hasText: 'second.txt' }).waitFor();
  await changes().getByText('2 open files').waitFor();
  await button('Restore…').click();
  await dialog('Restore files').getByLabel('To').selectOption('1');
  await dialog('Restore files').getByText('remove second.txt').waitFor();
  await button('Restore', dialog('Restore files')).click();
  await changes().getByText('1 open file').waitFor();
  await page.locator('.notice', { hasText: 'Restored to turn 1' }).waitFor();
});

test('A session gets another name, which every list shows', async () => {
  await server.open({ id: 'nameless' });
  await enter(page, 'nameless');
  const other = await openPage(browser, server);
  await button('Session details').click();
  await button('Rename…').click();
  await dialog('Rename session').getByLabel('Title').fill('A name');
  await page.keyboard.press('Enter');
  await page.locator('.session-head', { hasText: 'A name' }).waitFor();
  for (const each of [page, other]) await each.locator('.session-list a', { hasText: 'A name' }).waitFor();
  await other.context().close();
});

test('Deleting a session with work says what would be lost, and needs a second word', async () => {
  await server.open({ id: 'doomed', repository: server.repository('doomed') });
  await enter(page, 'doomed');
  await say(page, 'write precious.txt gold');
  await page.locator('.change', { hasText: 'precious.txt' }).waitFor();
  const remove = async () => {
    await button('Session details').click();
    await button('Delete…').click();
    await button('Delete', dialog('Delete session?')).click();
    await dialog('This worktree has work').getByText('1 new file').waitFor();
  };
  await remove();
  await button('Keep the session').click();
  assert.equal((await server.call('GET', 'sessions/doomed')).state, 'open');
  await remove();
  const guard = dialog('This worktree has work');
  assert.equal(await button('Delete anyway').isDisabled(), true);
  await guard.getByLabel('I do not need it').check();
  await button('Delete anyway').click();
  await page.getByRole('heading', { name: 'Ready when you are' }).waitFor();
  await until(
    async () => (await page.locator('.session-list a[data-id="doomed"]').count()) === 0,
    'gone from the list',
  );
});

test('Everything can be reached by keys', async () => {
  await page.locator('body').click({ position: { x: 700, y: 700 } });
  await page.keyboard.press('/');
  await page.keyboard.type('queue');
  await until(async () => (await page.locator('.session-list a').count()) === 1, 'a filtered list');
  await page.keyboard.press('Enter'); // opens the first that is left
  await page.locator('.session-head', { hasText: 'queue' }).waitFor();
  await page.keyboard.press('Escape'); // leaves the prompt
  await page.keyboard.press('/');
  await page.keyboard.press('Escape'); // empties the filter, and leaves it
  await until(async () => (await page.locator('.session-list a').count()) > 1, 'the whole list');
  await page.keyboard.press('k');
  await page.locator('.session-head', { hasText: 'stop' }).waitFor();
  await page.keyboard.press('Escape');
  await page.keyboard.press('j');
  await page.locator('.session-head', { hasText: 'queue' }).waitFor();
  await page.keyboard.press('Escape');
  await page.keyboard.press('?');
  await dialog('Keys').waitFor();
  await page.keyboard.press('Escape');
  await until(async () => (await page.getByRole('dialog').count()) === 0, 'no dialog');
  await page.keyboard.press('i');
  assert.equal(await page.evaluate(() => document.activeElement.id), 'prompt');
  await page.keyboard.type('ask write k.txt k');
  await page.keyboard.press('Enter');
  await button('Allow once').waitFor();
  await page.keyboard.press('Escape');
  await page.keyboard.press('p');
  await page.keyboard.press('Enter');
  await page.locator('.answered', { hasText: 'Allow once' }).waitFor();
  await page.keyboard.press('d');
  await page.getByRole('dialog').locator('.usage tbody tr').waitFor();
  await page.keyboard.press('Escape');
});

test('All of this broke no rule of the page', () => {
  assert.deepEqual(page.wrongs, []);
});
