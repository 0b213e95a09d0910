// Long sessions and small screens.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { enter, openPage, say, setUp, shownSeq, until } from './rig.mjs';

// Each chunk an event: many of them are the point here.
const { server, browser } = await setUp(() => '[limits]\njoined_text_max = 1\n');

/** Notes every task above 50 ms and every frame from now on. */
const observe = (page) =>
  page.evaluate(() => {
    globalThis.seen = { tasks: [], frames: [], last: performance.now() };
    new PerformanceObserver((list) =>
      globalThis.seen.tasks.push(...list.getEntries().map(({ duration }) => duration)),
    ).observe({ type: 'longtask' });
    const frame = (now) => {
      globalThis.seen.frames.push(now - globalThis.seen.last);
      globalThis.seen.last = now;
      requestAnimationFrame(frame);
    };
    requestAnimationFrame(frame);
  });
const report = async (page, what) => {
  const { tasks, frames } = await page.evaluate(() => globalThis.seen);
  frames.sort((a, b) => a - b);
  await page.evaluate(() => Object.assign(globalThis.seen, { tasks: [], frames: [] }));
  const nodes = await page.locator('body *').count();
  console.log(
    `figure: ${what}: frames p50 ${frames[frames.length >> 1].toFixed(0)} ms, p95 ${frames[Math.floor(frames.length * 0.95)].toFixed(0)} ms, ` +
      `${tasks.length} tasks above 50 ms (longest ${Math.max(0, ...tasks).toFixed(0)} ms), ${nodes} elements`,
  );
  return nodes;
};

test('Ten thousand events: they open, stream and scroll, and only some are nodes', async () => {
  await server.open({ id: 'long' });
  // Text that never ends a paragraph, and a thousand separate items: the two ways to be slow.
  const items = Array.from(
    { length: 500 },
    (_, i) => `say para ${i}\nthink step ${i}\nwrite f${i % 7}.txt ${i}`,
  ).join('\n');
  await server.prompt('long', items);
  await server.prompt('long', 'stream 7500 60');
  const idle = async () => {
    const session = await server.call('GET', 'sessions/long');
    return session.turn === null && session.queued === 0 && session;
  };
  const { last_seq: last } = await until(idle, 'the end of both turns');
  assert.ok(last >= 9500, `${last} events`);

  const page = await openPage(browser, server);
  await observe(page);
  const started = Date.now();
  await enter(page, 'long');
  await until(async () => (await shownSeq(page)) >= last, 'all of the log');
  console.log(`figure: ${last} events opened in ${Date.now() - started} ms`);
  const nodes = await report(page, 'opening them');
  assert.ok(nodes < 6000, `${nodes} elements`);

  await say(page, 'stream 600 60 200');
  await until(async () => (await page.locator('.ending').count()) >= 2, 'the end of the stream');
  await report(page, 'and 600 more at 200 a second');

  // Upwards: earlier items come, what one looks at stays.
  await page.locator('.transcript').hover();
  await until(async () => {
    await page.mouse.wheel(0, -40_000);
    return (await page.locator('.items').textContent()).includes('para 0');
  }, 'the very beginning');
  const above = await report(page, 'and scrolled to the beginning');
  assert.ok(above < 6000, `${above} elements`);
  assert.match(
    await page.locator('.item').first().textContent(),
    /^say para 0/,
    'the first prompt comes first',
  );

  // And down again, to where new things come.
  await until(async () => {
    await page.mouse.wheel(0, 40_000);
    return !(await page.getByRole('button', { name: 'Jump to the latest' }).isVisible());
  }, 'the end');
  const ids = await page.locator('.item').evaluateAll((all) => all.map((node) => node.dataset.item));
  assert.equal(new Set(ids).size, ids.length, 'each item once');
  await page.mouse.wheel(0, -3000);
  await page.getByRole('button', { name: 'Jump to the latest' }).click();
  await until(async () => (await page.locator('.item').count()) <= 130, 'far items are nodes no more');
  assert.deepEqual(page.wrongs, []);
  await page.context().close();
});

test('On a phone there is the list or the session, and nothing is wider than the screen', async () => {
  await server.open({
    id: 'phone',
    title: 'A session with quite a long title that has to be cut',
    repository: server.repository(),
  });
  await server.prompt(
    'phone',
    `say ${'longword'.repeat(40)}\nwrite ${'deep/'.repeat(12)}file.txt hi\nsay | a | b |`,
  );
  const page = await openPage(browser, server, {
    viewport: { width: 360, height: 740 },
    hasTouch: true,
    isMobile: true,
  });
  const fits = async (what) => {
    const width = await page.evaluate(() =>
      Math.max(document.documentElement.scrollWidth, document.body.scrollWidth),
    );
    assert.ok(width <= 360, `${what}: ${width} px`);
    const cut = await page.evaluate(() =>
      [...document.querySelectorAll('button, input, select, textarea')]
        .filter((node) => node.checkVisibility() && !node.closest('.table-wrap, .diff-wrap'))
        .filter(
          (node) => node.getBoundingClientRect().right > innerWidth || node.getBoundingClientRect().left < 0,
        )
        .map((node) => node.outerHTML.slice(0, 120)),
    );
    assert.deepEqual(cut, [], what);
  };
  await fits('the list');
  await page.locator('.session-list a[data-id="phone"]').tap();
  await page.locator('.change').waitFor();
  assert.equal(await page.locator('.sidebar').isVisible(), false);
  await fits('the session');
  await say(page, 'ask write a.txt b'); // a new line on a phone
  await page.getByRole('button', { name: 'Send' }).tap();
  await page.getByRole('button', { name: 'Allow once' }).waitFor();
  await page.getByRole('button', { name: 'Stop' }).waitFor();
  await fits('a question while a turn runs');
  await page.getByRole('button', { name: 'Changes', exact: true }).tap();
  await page.getByRole('complementary', { name: 'Changes' }).getByText('file.txt').waitFor();
  await fits('the changes');
  await page.getByRole('button', { name: 'Close changes' }).tap();
  await page.getByRole('button', { name: 'Session details' }).tap();
  await fits('the details');
  await page.getByRole('dialog').getByRole('button', { name: 'Close', exact: true }).first().tap();
  await page.getByRole('button', { name: 'Sessions' }).tap();
  await page.locator('.sidebar').waitFor();
  assert.deepEqual(page.wrongs, []);
  await page.context().close();
});

test('Controls have names, colours have contrast', async () => {
  for (const colorScheme of ['light', 'dark']) {
    const page = await openPage(browser, server, { colorScheme });
    await enter(page, 'phone');
    await page.locator('.file').first().waitFor();
    const nameless = await page.evaluate(() =>
      [...document.querySelectorAll('button, input, select, textarea, a')]
        .filter(
          (node) =>
            node.checkVisibility() &&
            !(
              node.textContent.trim() ||
              node.getAttribute('aria-label') ||
              node.title ||
              node.labels?.length
            ),
        )
        .map((node) => node.outerHTML.slice(0, 120)),
    );
    assert.deepEqual(nameless, []);
    const faint = await page.evaluate(contrastBelow, 4.5);
    assert.deepEqual(faint, [], colorScheme);
    await page.context().close();
  }
});

/** Runs in the page: texts whose contrast to what is behind them is below `least`. */
function contrastBelow(least) {
  const canvas = document.createElement('canvas').getContext('2d', { willReadFrequently: true });
  const rgba = (color) => {
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = color;
    canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data];
  };
  const light = ([r, g, b]) =>
    [r, g, b]
      .map((part) => part / 255)
      .map((part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4))
      .reduce((sum, part, i) => sum + part * [0.2126, 0.7152, 0.0722][i], 0);
  const behind = (node) => {
    for (let at = node; at; at = at.parentElement) {
      const color = rgba(getComputedStyle(at).backgroundColor);
      if (color[3] === 255) return color;
    }
    return rgba('white');
  };
  const found = new Set();
  for (const node of document.querySelectorAll('#root *')) {
    const own = [...node.childNodes].some((child) => child.nodeType === Node.TEXT_NODE && child.data.trim());
    if (
      !own ||
      !node.checkVisibility({ opacityProperty: true }) ||
      node.closest(':disabled, .sr-only, .line-number, .hint')
    )
      continue;
    const [a, b] = [light(rgba(getComputedStyle(node).color)), light(behind(node))].sort((x, y) => y - x);
    const contrast = (a + 0.05) / (b + 0.05);
    if (contrast < least) found.add(`${node.className || node.localName}: ${contrast.toFixed(2)}`);
  }
  return [...found];
}
