// What agents, file names and titles say is never run, and never loads anything.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ECHO_AGENT, enter, openPage, orders, say, setUp } from './rig.mjs';

const ATTACKS = [
  '<script>alert(1)</script>',
  '<img src=x onerror=alert(2)>',
  '<svg/onload=alert(3)>',
  '<iframe srcdoc="<script>parent.alert(4)</script>">',
  '"><img src=http://evil.example/x>',
  "javascript:alert(5)//'+alert(6)+'",
  '{{constructor.constructor("alert(7)")()}}',
];
const MARKDOWN = [
  '[click](javascript:alert(8)) [data](data:text/html,<script>alert(9)</script>) [tab](java\tscript:alert(10))',
  '![image](http://evil.example/beacon.png) ![inline](data:image/svg+xml,<svg/onload=alert(11)>)',
  '[a](https://example.org/"onmouseover="alert(12)) <a href="javascript:alert(13)">x</a>',
  '`<img src=x onerror=alert(14)>` **<b onclick=alert(15)>bold</b>** <style>body{display:none}</style>',
  '| <img src=x onerror=alert(16)> | b |',
];

const { server, browser } = await setUp(() => ECHO_AGENT);

/** Whatever in the page could have come out of markup: there is nothing of the kind in ours. */
const foreign = (page) =>
  page.evaluate(() => {
    const found = [
      ...document.querySelectorAll(
        '#root script, #root iframe, #root object, #root embed, #root style, #root link, #root base',
      ),
    ];
    for (const node of document.querySelectorAll('body *')) {
      if ([...node.attributes].some(({ name }) => /^on/i.test(name))) found.push(node);
      if (node.localName === 'a' && !/^(https?:|mailto:)/.test(node.href)) found.push(node);
      if (node.localName === 'img' && !node.src.endsWith('/ui/favicon.svg')) found.push(node);
    }
    return found.map((node) => node.outerHTML.slice(0, 200));
  });

test('Nothing hostile runs: text, titles, tool calls, file names, diffs, questions, sessions', async () => {
  const page = await openPage(browser, server);
  const repository = server.repository('hostile', {
    '<img src=x onerror=alert(20)>.txt': '<script>alert(21)</script>\n',
  });
  await server.open({ id: 'hostile', title: ATTACKS.join(' '), repository });
  for (const [i, attack] of ATTACKS.entries()) await server.open({ id: `title-${i}`, title: attack });
  await page.locator('.session-list a', { hasText: 'onload=alert(3)' }).first().waitFor();
  await enter(page, 'hostile');
  const lines = [
    ...[...ATTACKS, ...MARKDOWN].flatMap((attack) => [`say ${attack}`, 'think ' + attack]),
    `plan ${ATTACKS[0]}, ${ATTACKS[1]}`,
    `write <svg onload=alert(22)>.txt ${ATTACKS[1]}`,
    `open-tool ${ATTACKS[1]}`,
    `elicit ${ATTACKS[1]}`,
  ];
  await say(page, lines.join('\n'));
  await page.getByRole('button', { name: 'Decline' }).waitFor();
  await page.locator('details').evaluateAll((folds) => folds.forEach((fold) => (fold.open = true)));
  assert.deepEqual(await foreign(page), []);
  await page.getByRole('button', { name: 'Decline' }).click();
  await page.locator('.change').waitFor();
  await page.locator('.change .file-link').first().click();
  await page.locator('.file .row-add').first().waitFor();
  await page.getByRole('button', { name: 'Session details' }).click();
  await page.locator('dialog .usage tbody tr').waitFor();
  assert.deepEqual(await foreign(page), []);
  await page.keyboard.press('Escape');
  await say(page, `ask write x.txt ${ATTACKS[0]}`);
  await page.getByRole('button', { name: 'Allow once' }).click();
  await page.locator('.ending').nth(1).waitFor();
  assert.ok((await page.title()).includes('<script>'), 'the title is text');
  assert.match(await page.locator('.items').textContent(), /<img src=x onerror=alert\(2\)>/);
  assert.deepEqual(await foreign(page), []);
  assert.deepEqual(page.wrongs, []);
});

test('An agent that lies in every field of the protocol gets nothing run', async () => {
  const page = await openPage(browser, server);
  await server.open({ id: 'liar', agent: 'echo', repository: server.repository('liar') });
  await enter(page, 'liar');
  const [bad] = [ATTACKS[1]];
  const call = (toolCallId, more) => ({
    sessionUpdate: 'tool_call',
    toolCallId,
    title: bad,
    kind: bad,
    status: bad,
    ...more,
  });
  const diff = { type: 'diff', path: bad, oldText: `${bad}\nsame`, newText: `same\n${ATTACKS[0]}` };
  await server.prompt(
    'liar',
    orders(
      call(bad, { content: [diff], locations: [{ path: bad, line: bad }], rawInput: { [bad]: bad } }),
      call('__proto__', {
        content: [{ type: 'content', content: { type: 'text', text: bad } }, { type: bad }],
        rawOutput: { bad },
      }),
      call('text', { content: bad, locations: null, rawInput: bad }),
      { sessionUpdate: 'plan', entries: [{ content: bad, status: bad, priority: bad }] },
      {
        sessionUpdate: 'agent_message_chunk',
        content: { type: 'resource_link', uri: 'javascript:alert(30)', name: bad },
      },
      {
        sessionUpdate: 'agent_message_chunk',
        content: { type: 'image', data: 'x', mimeType: bad, uri: 'http://evil.example/i' },
      },
      { sessionUpdate: 'agent_thought_chunk', content: { type: 'text', text: bad }, messageId: '__proto__' },
      { sessionUpdate: 'current_mode_update', currentModeId: bad },
      { sessionUpdate: 'constructor', content: bad },
      { sessionUpdate: 'tool_call', toolCallId: { bad }, title: { bad }, status: [bad], content: [null, 7] },
      { sessionUpdate: 'plan', entries: [null] },
      { sessionUpdate: 'agent_message_chunk', content: null },
      {
        ask: {
          toolCall: {
            toolCallId: 'q',
            title: bad,
            rawInput: { command: bad },
            content: [diff],
            locations: [{ path: bad }],
          },
          options: [
            { optionId: bad, name: bad, kind: 'allow_once' },
            { optionId: 'no', name: 'javascript:alert(31)', kind: bad },
          ],
        },
      },
    ),
    0,
  );
  const allow = page.locator('.question button', { hasText: 'onerror=alert(2)' });
  await allow.waitFor();
  await page.locator('.question .row-add').waitFor(); // what is to be allowed shows with its diff
  await page.locator('details').evaluateAll((folds) => folds.forEach((fold) => (fold.open = true)));
  assert.ok((await page.locator('.row-del').count()) >= 2);
  assert.deepEqual(await foreign(page), []);
  await allow.click();
  await page.locator('.ending').waitFor();
  assert.deepEqual(await foreign(page), []);
  assert.deepEqual(page.wrongs, []);
});

test('The watch of this test sees what it looks for', async () => {
  const page = await openPage(browser, server);
  await page.evaluate(() => {
    document
      .getElementById('root')
      .insertAdjacentHTML('beforeend', '<img src="http://evil.example/x" onerror="alert(1)">');
  });
  await page.waitForFunction(() => document.querySelector('img[onerror]').complete);
  assert.equal((await foreign(page)).length, 2, 'a handler and a foreign image');
  assert.ok(
    page.wrongs.some((wrong) => /csp: img-src/.test(wrong)),
    page.wrongs.join(),
  );
  assert.ok(!page.wrongs.some((wrong) => /dialog/.test(wrong)), 'and the policy keeps it from running');
});
