// The reducer of the web page: events in, model out.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { applyWatch, newList, sessionsOf } from '../../server/ui/web/session_list.js';
import {
  activityOf,
  apply,
  newModel,
  queueOf,
  seed,
  takeChanges,
} from '../../server/ui/web/session_model.js';

/** Feeds events that number themselves; gives the model. */
function world() {
  const model = newModel();
  let seq = 0;
  const feed = (type, data = {}, turn = null, agent = 'scripted') => {
    seq += 1;
    apply(model, { seq, time: new Date(1e12 + seq * 1000).toISOString(), type, turn, agent, data });
  };
  return {
    model,
    feed,
    queue: (turn, number, text) => feed('turn.queued', { number, prompt: [{ type: 'text', text }] }, turn),
    say: (text, turn, more = {}) =>
      feed(
        'update',
        { sessionUpdate: 'agent_message_chunk', content: { type: 'text', text }, ...more },
        turn,
      ),
  };
}

const kinds = (model) => model.items.map((item) => item.kind);

test('A turn is its prompt, what was said and its ending', () => {
  const { model, feed, queue, say } = world();
  queue('t1', 1, 'hello');
  assert.deepEqual(kinds(model), []);
  feed('turn.started', { number: 1 }, 't1');
  say('He', 't1');
  say('llo', 't1');
  assert.equal(activityOf(model), 'working');
  feed(
    'turn.ended',
    { number: 1, state: 'completed', reason: 'end_turn', usage: { totalTokens: 3 }, open_tool_calls: [] },
    't1',
  );
  assert.deepEqual(kinds(model), ['prompt', 'text', 'ending']);
  assert.equal(model.items[1].text, 'Hello');
  assert.equal(model.items[2].ms, 3000);
  assert.equal(activityOf(model), 'idle');
});

test('The same events give the same model, also when some come twice', () => {
  const once = world();
  const twice = world();
  for (const { queue, feed, say } of [once, twice]) {
    queue('t1', 1, 'a');
    feed('turn.started', { number: 1 }, 't1');
    say('x', 't1');
  }
  apply(twice.model, {
    seq: 3,
    type: 'update',
    turn: 't1',
    agent: 'scripted',
    data: { sessionUpdate: 'agent_message_chunk', content: { type: 'text', text: 'x' } },
  });
  assert.deepEqual(twice.model, once.model);
  assert.equal(twice.model.gaps, 0);
});

test('Events that are missing are counted', () => {
  const { model } = world();
  apply(model, { seq: 1, type: 'session.archived' });
  apply(model, { seq: 4, type: 'session.unarchived' });
  assert.equal(model.gaps, 2);
});

test('Text after a tool call is a new piece, and so is another message', () => {
  const { model, feed, queue, say } = world();
  queue('t1', 1, 'a');
  feed('turn.started', { number: 1 }, 't1');
  say('one', 't1', { messageId: 'm1' });
  say('two', 't1', { messageId: 'm2' });
  feed(
    'update',
    { sessionUpdate: 'tool_call', toolCallId: 'c1', title: 'ls', kind: 'execute', status: 'pending' },
    't1',
  );
  say('three', 't1', { messageId: 'm2' });
  assert.deepEqual(kinds(model), ['prompt', 'text', 'text', 'tool', 'text']);
});

test('Updates of a tool call amend it, wherever they come', () => {
  const { model, feed, queue, say } = world();
  queue('t1', 1, 'a');
  feed('turn.started', { number: 1 }, 't1');
  feed(
    'update',
    { sessionUpdate: 'tool_call', toolCallId: 'c1', title: 'ls', kind: 'execute', status: 'pending' },
    't1',
  );
  say('meanwhile', 't1');
  feed(
    'update',
    {
      sessionUpdate: 'tool_call_update',
      toolCallId: 'c1',
      status: 'completed',
      content: [{ type: 'content' }],
    },
    't1',
  );
  const tool = model.items.find((item) => item.kind === 'tool');
  assert.deepEqual(
    [tool.title, tool.tool, tool.status, tool.content.length],
    ['ls', 'execute', 'completed', 1],
  );
});

test('A tool call without a result reads so after the ending', () => {
  const { model, feed, queue } = world();
  queue('t1', 1, 'a');
  feed('turn.started', { number: 1 }, 't1');
  feed('update', { sessionUpdate: 'tool_call', toolCallId: 'c1', title: 'ls', status: 'in_progress' }, 't1');
  feed('turn.ended', { number: 1, state: 'interrupted', open_tool_calls: ['c1'] }, 't1');
  assert.equal(model.items[1].status, 'unfinished');
});

test('An agent that numbers its tool calls anew in the next turn amends none of the last one', () => {
  const { model, feed, queue } = world();
  for (const [turn, number] of [
    ['t1', 1],
    ['t2', 2],
  ]) {
    queue(turn, number, 'a');
    feed('turn.started', { number }, turn);
    feed(
      'update',
      { sessionUpdate: 'tool_call', toolCallId: 'call_1', title: turn, status: 'pending' },
      turn,
    );
    feed(
      'update',
      {
        sessionUpdate: 'tool_call_update',
        toolCallId: 'call_1',
        status: turn === 't1' ? 'failed' : 'completed',
      },
      turn,
    );
    feed('turn.ended', { number, state: 'completed', open_tool_calls: [] }, turn);
  }
  const tools = model.items.filter((item) => item.kind === 'tool');
  assert.deepEqual(
    tools.map(({ title, status }) => [title, status]),
    [
      ['t1', 'failed'],
      ['t2', 'completed'],
    ],
  );
  assert.equal(new Set(model.items.map(({ id }) => id)).size, model.items.length);
});

test('Late words stand before the ending of their turn, not in the one that runs', () => {
  const { model, feed, queue, say } = world();
  queue('t1', 1, 'a');
  feed('turn.started', { number: 1 }, 't1');
  feed('turn.ended', { number: 1, state: 'cancelled', open_tool_calls: [] }, 't1');
  queue('t2', 2, 'b');
  feed('turn.started', { number: 2 }, 't2');
  say('new', 't2');
  say('late', 't1');
  say('er', 't2');
  assert.deepEqual(
    model.items.map((item) => [item.kind, item.turn, item.text]).filter(([kind]) => kind !== 'prompt'),
    [
      ['text', 't1', 'late'],
      ['ending', 't1', undefined],
      ['text', 't2', 'newer'],
    ],
  );
});

test('The queue is in the order of its numbers, follows edits, and what starts or ends leaves it', () => {
  const { model, feed, queue } = world();
  queue('t1', 1, 'one');
  queue('t2', 2, 'two');
  queue('t3', 3, 'three');
  assert.deepEqual(
    queueOf(model).map(({ id }) => id),
    ['t1', 't2', 't3'],
  );
  feed('turn.edited', { number: 3 }, 't2');
  feed('turn.edited', { number: 2, prompt: [{ type: 'text', text: 'third' }] }, 't3');
  assert.deepEqual(
    queueOf(model).map(({ id, prompt }) => [id, prompt[0].text]),
    [
      ['t1', 'one'],
      ['t3', 'third'],
      ['t2', 'two'],
    ],
  );
  feed('turn.started', { number: 1 }, 't1');
  feed('turn.ended', { number: 3, state: 'cancelled', open_tool_calls: [] }, 't2');
  assert.deepEqual(
    queueOf(model).map(({ id }) => id),
    ['t3'],
  );
  assert.equal(model.running, 't1');
});

test('A held queue says why until it goes on', () => {
  const { model, feed, queue } = world();
  queue('t1', 1, 'one');
  feed('queue.held', { reason: 'a turn was stopped' });
  assert.equal(activityOf(model), 'held');
  feed('queue.resumed');
  assert.equal(activityOf(model), 'idle');
});

test('A question is open until somebody answers it, and says who', () => {
  const { model, feed, queue } = world();
  queue('t1', 1, 'one');
  feed('turn.started', { number: 1 }, 't1');
  feed('interaction.opened', { id: 'int_1', kind: 'permission', request: { options: [] } }, 't1');
  assert.equal(activityOf(model), 'waiting');
  takeChanges(model);
  feed(
    'interaction.closed',
    { id: 'int_1', state: 'answered', answer: { option_id: 'yes' }, by: 'user' },
    't1',
  );
  assert.deepEqual([...takeChanges(model)], ['question:int_1']);
  assert.equal(activityOf(model), 'working');
  assert.equal(model.byId.get('question:int_1').by, 'user');
});

test('A decision waits until it is made', () => {
  const { model, feed, queue } = world();
  queue('t1', 1, 'one');
  feed('turn.started', { number: 1 }, 't1');
  feed(
    'agent.failed',
    { message: 'no such session', needs_decision: true, choices: ['retry', 'history', 'fail'] },
    't1',
    'opencode',
  );
  assert.equal(activityOf(model), 'decision');
  assert.deepEqual(model.decision.choices, ['retry', 'history', 'fail']);
  feed('agent.decided', { choice: 'history' }, 't1', 'opencode');
  assert.equal(activityOf(model), 'working');
});

test('A boundary stands where a change was applied, and only the rest stays open', () => {
  const { model, feed } = world();
  const file = (path) => ({ path, status: 'added', additions: 2, deletions: 1 });
  feed(
    'change.recorded',
    {
      outcome: 'recorded',
      turn_number: 1,
      files: [file('a'), file('b')],
      files_total: 2,
      touched: ['a', 'b'],
      touched_total: 2,
      additions: 4,
      deletions: 2,
    },
    't1',
  );
  feed('change.applied', {
    applied: true,
    dry_run: false,
    to: 'branch',
    branch: 'main',
    commit: 'c0ffee',
    files: ['a'],
    conflicts: [],
  });
  assert.deepEqual(kinds(model), ['change', 'boundary']);
  assert.deepEqual(
    [model.change.total, model.change.additions, model.change.deletions, model.change.files[0].path],
    [1, 2, 1, 'b'],
  );
});

test('What a turn took back to the base is named, and no file of an earlier turn with it', () => {
  const { model, feed } = world();
  feed(
    'change.recorded',
    {
      outcome: 'recorded',
      files: [{ path: 'old', status: 'added' }],
      files_total: 1,
      touched: ['gone'],
      touched_total: 1,
    },
    't2',
  );
  assert.deepEqual([model.items[0].files, model.items[0].undone], [[], ['gone']]);
});

test('A long log can be begun in the middle', () => {
  const model = newModel();
  seed(
    model,
    500,
    {
      state: 'open',
      workspace: {},
      held: false,
      turn: { id: 't8', number: 8, agent: 'a', started_at: '2026-01-01T00:00:00Z' },
    },
    [{ id: 't9', number: 9, agent: 'a', prompt: [] }],
    [{ id: 'int_5', kind: 'permission', turn: 't8', request: {} }],
  );
  assert.equal(activityOf(model), 'waiting');
  assert.deepEqual(
    queueOf(model).map(({ id }) => id),
    ['t9'],
  );
  apply(model, {
    seq: 501,
    type: 'interaction.closed',
    turn: 't8',
    data: { id: 'int_5', state: 'cancelled' },
  });
  apply(model, {
    seq: 502,
    time: '2026-01-01T00:00:02Z',
    type: 'turn.ended',
    turn: 't8',
    data: { number: 8, state: 'completed' },
  });
  assert.equal(model.gaps, 0);
  assert.equal(activityOf(model), 'idle');
});

test('An event of an unknown shape costs none of the others', () => {
  const { model, feed, queue, say } = world();
  queue('t1', 1, 'a');
  feed('turn.started', { number: 1 }, 't1');
  feed('constructor', {}, 't1');
  feed('update', { sessionUpdate: 'toString' }, 't1');
  feed('change.recorded', { outcome: 'recorded', touched: 7, touched_total: 1 }, 't1');
  say('on', 't1');
  assert.deepEqual(kinds(model), ['prompt', 'notice', 'text']);
});

test('Ten thousand events cost little', () => {
  const { model, feed, queue, say } = world();
  const started = performance.now();
  for (let turn = 1; turn <= 100; turn += 1) {
    queue(`t${turn}`, turn, 'go');
    feed('turn.started', { number: turn }, `t${turn}`);
    for (let i = 0; i < 97; i += 1) say('word ', `t${turn}`);
    feed('turn.ended', { number: turn, state: 'completed', open_tool_calls: [] }, `t${turn}`);
  }
  console.log(`figure: 10,000 events reduced in ${(performance.now() - started).toFixed(0)} ms`);
  assert.equal(model.seq, 10_000);
  assert.equal(model.items.length, 300);
});

test('The list stays until a new one is whole, and forgets what is gone', () => {
  const list = newList();
  const row = (id, state = 'open') => ({ id, state, created_at: `2026-01-0${id}` });
  const ids = () =>
    sessionsOf(list)
      .map(({ id }) => id)
      .join();
  for (const [type, data] of [['reset'], ['session', row('1')], ['session', row('2')], ['ready']])
    applyWatch(list, type, data, false);
  assert.equal(ids(), '2,1');
  applyWatch(list, 'reset', {}, false);
  applyWatch(list, 'session', row('3'), false);
  assert.equal(ids(), '2,1');
  applyWatch(list, 'ready', {}, false);
  assert.equal(ids(), '3');
  applyWatch(list, 'session', row('4'), false);
  applyWatch(list, 'session', row('3', 'deleted'), false);
  applyWatch(list, 'session', row('5', 'archived'), false);
  assert.equal(ids(), '4');
  applyWatch(list, 'session', row('4', 'archived'), true);
  assert.equal(ids(), '4');
});
