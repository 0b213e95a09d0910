// session_model.js — what a session's events come to: turns, queue, questions, and the items of the
// transcript in order. Pure: events in, model out; the same events always give the same model.

import { own } from './table.js';

/** An empty session. `changed` collects the ids of items that differ since takeChanges(). */
export function newModel() {
  return {
    seq: 0,
    gaps: 0, // events that were never given; stays 0 if the stream keeps its promise
    state: 'open',
    workspace: null,
    items: [],
    byId: new Map(),
    turns: new Map(),
    queued: new Set(),
    running: null, // id of the turn that runs
    questions: new Map(), // open ones, id -> item
    held: null, // why the queue waits
    stalled: null, // why the running turn counts as stalled
    decision: null, // {agent, message, choices}
    change: null, // the newest recorded change of the whole session
    applied: null, // the newest apply
    changed: new Set(),
    structure: 0, // grows when items come, go or move
  };
}

/**
 * Begins behind event `after` of a long log: what still matters of the events before comes from what
 * the server tells of the session, its inputs and its open questions.
 */
export function seed(model, after, session, inputs, questions) {
  model.seq = after;
  model.state = session.state;
  model.workspace = session.workspace;
  if (session.held) model.held = '';
  for (const input of inputs) {
    model.turns.set(input.id, {
      id: input.id,
      agent: input.agent,
      number: input.number,
      prompt: input.prompt,
      state: 'queued',
      ended: false,
      startedAt: null,
    });
    model.queued.add(input.id);
  }
  if (session.turn) {
    const { id, agent, number, started_at: startedAt } = session.turn;
    model.turns.set(id, { id, agent, number, prompt: [], state: 'running', ended: false, startedAt });
    model.running = id;
  }
  for (const row of questions) {
    questionOpened(model, { seq: after, time: row.opened_at, turn: row.turn, agent: row.agent }, row);
  }
}

/** Takes one event. Those that came before are ignored, so that a replay does no harm. */
export function apply(model, event) {
  if (event.seq <= model.seq) return model;
  if (model.seq > 0 && event.seq !== model.seq + 1) model.gaps += event.seq - model.seq - 1;
  model.seq = event.seq;
  try {
    own(HANDLERS, event.type)?.(model, event, event.data ?? {});
  } catch {
    // An agent may send what no protocol knows; one strange event costs none of the others.
    notice(
      model,
      event,
      'warning',
      `Event ${event.seq} (${event.type}) has a shape that the page does not know`,
    );
  }
  return model;
}

/** The turns that wait, in the order in which they will run. */
export function queueOf(model) {
  return [...model.queued].map((id) => model.turns.get(id)).sort((a, b) => a.number - b.number);
}

/** One word for lists and headers: waiting, stalled, working, held, idle or the session's state. */
export function activityOf(model) {
  if (model.state !== 'open') return model.state;
  if (model.decision) return 'decision';
  if (model.running && model.questions.size) return 'waiting';
  if (model.running) return model.stalled ? 'stalled' : 'working';
  return model.held !== null && model.queued.size ? 'held' : 'idle';
}

/** The ids of items that changed since the last call. */
export function takeChanges(model) {
  const { changed } = model;
  model.changed = new Set();
  return changed;
}

/** The text of a prompt's blocks; what is no text is named. */
export function promptText(blocks) {
  return (blocks ?? [])
    .map((block) =>
      block.type === 'text' ? block.text : `[${block.resource?.uri ?? block.uri ?? block.type}]`,
    )
    .join('\n');
}

// --- items ---

/** Puts an item in: at the end, or, when its turn has ended, before that turn's ending. */
function add(model, event, kind, fields, id = `${kind}:${event.seq}`) {
  const item = {
    id,
    kind,
    seq: event.seq,
    time: event.time,
    turn: event.turn,
    agent: event.agent,
    ...fields,
  };
  const turn = event.turn && model.turns.get(event.turn);
  const ending = turn?.ended && kind !== 'change' && model.byId.get(`ending:${event.turn}`);
  if (ending) {
    item.late = true;
    model.items.splice(model.items.lastIndexOf(ending), 0, item);
  } else {
    model.items.push(item);
  }
  model.byId.set(id, item);
  model.changed.add(id);
  model.structure += 1;
  return item;
}

function touch(model, item) {
  model.changed.add(item.id);
}

function notice(model, event, level, text, detail = null) {
  return add(model, event, 'notice', { level, text, detail });
}

function turnOf(model, event) {
  let turn = model.turns.get(event.turn);
  if (!turn) {
    turn = {
      id: event.turn,
      agent: event.agent,
      number: event.data?.number ?? 0,
      prompt: [],
      state: 'running',
      ended: false,
      startedAt: null,
    };
    model.turns.set(event.turn, turn);
  }
  return turn;
}

// --- what an agent says ---

function update(model, event, data) {
  const said = own(UPDATES, data.sessionUpdate);
  if (said) said(model, event, data);
}

/** The item that a chunk goes on with: the last one of this turn if it is of that kind and message. */
function flowing(model, event, kind, message) {
  const turn = event.turn && model.turns.get(event.turn);
  const flow = turn ? turn.flow : model.items.at(-1);
  const same = flow && flow.kind === kind && flow.agent === event.agent && (flow.message ?? null) === message;
  return same ? flow : null;
}

function chunk(kind) {
  return (model, event, data) => {
    const content = data.content ?? {};
    const text =
      content.type === 'text'
        ? (content.text ?? '')
        : `[${content.uri ?? content.resource?.uri ?? content.type ?? 'content'}]`;
    const message = data.messageId ?? null;
    let item = flowing(model, event, kind, message);
    if (!item) {
      if (text === '') return;
      item = add(model, event, kind, { text: '', message });
      setFlow(model, event, item);
    }
    item.text += text;
    touch(model, item);
  };
}

function setFlow(model, event, item) {
  const turn = event.turn && model.turns.get(event.turn);
  if (turn) turn.flow = item;
}

function tool(model, event, data) {
  const id = `tool:${event.agent}:${data.toolCallId}`;
  let item = model.byId.get(id);
  if (!item || (data.sessionUpdate === 'tool_call' && item.turn !== event.turn)) {
    if (item) model.byId.delete(id); // an agent that counts its calls anew with each of its lives
    item = add(
      model,
      event,
      'tool',
      { title: '', tool: 'other', status: 'pending', content: [], locations: [], input: null, output: null },
      item ? `${id}:${event.seq}` : id,
    );
    model.byId.set(id, item);
  }
  const taken = {
    title: data.title,
    tool: data.kind,
    status: data.status,
    content: data.content,
    locations: data.locations,
    input: data.rawInput,
    output: data.rawOutput,
  };
  for (const [name, value] of Object.entries(taken))
    if (value !== undefined && value !== null) item[name] = value;
  setFlow(model, event, item);
  touch(model, item);
}

function plan(model, event, data) {
  const id = `plan:${event.turn ?? 'none'}`;
  const item = model.byId.get(id) ?? add(model, event, 'plan', { entries: [] }, id);
  item.entries = Array.isArray(data.entries) ? data.entries : [];
  touch(model, item);
}

const UPDATES = {
  agent_message_chunk: chunk('text'),
  agent_thought_chunk: chunk('thought'),
  tool_call: tool,
  tool_call_update: tool,
  plan,
  current_mode_update: (model, event, data) => notice(model, event, 'quiet', `Mode: ${data.currentModeId}`),
};

// --- turns ---

function turnQueued(model, event, data) {
  model.turns.set(event.turn, {
    id: event.turn,
    agent: event.agent,
    number: data.number,
    prompt: data.prompt,
    state: 'queued',
    ended: false,
    startedAt: null,
  });
  model.queued.add(event.turn);
}

function turnEdited(model, event, data) {
  const turn = turnOf(model, event);
  turn.number = data.number;
  if (event.agent) turn.agent = event.agent;
  if (data.prompt) turn.prompt = data.prompt;
}

function turnStarted(model, event, data) {
  const turn = turnOf(model, event);
  turn.state = 'running';
  turn.startedAt = event.time;
  if (data.number) turn.number = data.number;
  model.queued.delete(event.turn);
  model.running = event.turn;
  model.stalled = null;
  const id = `prompt:${event.turn}`;
  if (!model.byId.has(id))
    add(model, event, 'prompt', { number: turn.number, text: promptText(turn.prompt) }, id);
}

function turnEnded(model, event, data) {
  const turn = turnOf(model, event);
  const waited = turn.state === 'queued';
  turn.state = data.state;
  turn.flow = null;
  model.queued.delete(event.turn);
  if (model.running === event.turn) {
    model.running = null;
    model.stalled = null;
  }
  if (model.decision?.turn === event.turn) model.decision = null;
  for (const id of data.open_tool_calls ?? []) {
    const item = model.byId.get(`tool:${event.agent}:${id}`);
    if (!item) continue;
    item.status = 'unfinished';
    touch(model, item);
  }
  if (waited) {
    notice(model, event, 'quiet', `Taken from the queue: ${promptText(turn.prompt).slice(0, 120)}`);
  } else {
    const ms = turn.startedAt ? Date.parse(event.time) - Date.parse(turn.startedAt) : null;
    add(
      model,
      event,
      'ending',
      { number: turn.number, state: data.state, reason: data.reason, usage: data.usage, ms },
      `ending:${event.turn}`,
    );
  }
  turn.ended = true;
}

// --- questions ---

function questionOpened(model, event, data) {
  if (model.byId.has(`question:${data.id}`)) return; // it was there when the page began in the middle
  const item = add(
    model,
    event,
    'question',
    {
      question: data.id,
      asks: data.kind,
      request: data.request ?? {},
      child: data.child,
      state: 'open',
      answer: null,
      by: null,
      expiresAt: data.expires_at,
    },
    `question:${data.id}`,
  );
  model.questions.set(data.id, item);
  setFlow(model, event, item);
}

function questionClosed(model, event, data) {
  model.questions.delete(data.id);
  const item = model.byId.get(`question:${data.id}`);
  if (!item) return;
  Object.assign(item, { state: data.state, answer: data.answer, by: data.by });
  touch(model, item);
}

// --- agents ---

const RUNGS = { resume: 'resumed', load: 'resumed', history: 'told the story so far', new: 'started' };

function attached(model, event, data) {
  if (model.decision?.agent === event.agent) model.decision = null;
  const name = event.agent;
  const worse = Boolean(data.reason);
  const said = `${name} ${own(RUNGS, data.rung) ?? data.rung}`;
  notice(
    model,
    event,
    worse ? 'warning' : 'quiet',
    worse ? `${said}: ${data.reason}` : said,
    data.config_failures?.length ? JSON.stringify(data.config_failures, null, 2) : null,
  );
}

function exited(model, event, data) {
  notice(
    model,
    event,
    data.expected ? 'quiet' : 'error',
    `${event.agent} ended: ${data.status}`,
    data.expected ? null : data.stderr_tail || null,
  );
}

function failed(model, event, data) {
  notice(model, event, 'error', `${event.agent} failed: ${data.message}`, data.stderr_tail || null);
  if (data.needs_decision)
    model.decision = {
      agent: event.agent,
      turn: event.turn,
      message: data.message,
      choices: data.choices ?? [],
    };
}

// --- changes ---

function changeRecorded(model, event, data) {
  if (data.outcome !== 'recorded') {
    notice(
      model,
      event,
      data.outcome === 'failed' ? 'error' : 'quiet',
      `Snapshot ${data.outcome}${data.reason ? `: ${data.reason}` : ''}`,
    );
    return;
  }
  model.change = {
    files: data.files ?? [],
    total: data.files_total,
    additions: data.additions,
    deletions: data.deletions,
    turn: data.turn_number,
  };
  if (!data.touched_total) return;
  const touched = new Set(data.touched ?? []);
  const files = (data.files ?? []).filter((file) => touched.has(file.path) || touched.has(file.old_path));
  const names = new Set(files.flatMap((file) => [file.path, file.old_path]));
  const undone = [...touched].filter((path) => !names.has(path)); // as the baseline has them again
  add(model, event, 'change', { files, undone, total: data.touched_total, outside: event.turn === null });
}

function changeApplied(model, event, data) {
  if (!data.applied) return;
  model.applied = { seq: event.seq, time: event.time, ...data };
  if (model.change) {
    const gone = new Set(data.files ?? []);
    const files = model.change.files.filter((file) => !gone.has(file.path));
    const sum = (name) => files.reduce((total, file) => total + (file[name] ?? 0), 0);
    model.change = {
      ...model.change,
      files,
      total: files.length,
      additions: sum('additions'),
      deletions: sum('deletions'),
    };
  }
  add(model, event, 'boundary', {
    to: data.to,
    branch: data.branch,
    commit: data.commit,
    files: data.files ?? [],
    unchanged: data.unchanged,
  });
}

function changeRestored(model, event, data) {
  const what = data.turn === null || data.turn === undefined ? 'Discarded' : `Restored to turn ${data.turn}`;
  const count = data.files?.length ?? 0;
  notice(
    model,
    event,
    'info',
    `${what}: ${count} file${count === 1 ? '' : 's'}`,
    (data.files ?? []).map((file) => file.path).join('\n') || null,
  );
}

// --- all ---

function stateIs(state, text) {
  return (model, event, data) => {
    model.state = state;
    notice(model, event, 'info', typeof text === 'function' ? text(data) : text);
  };
}

const HANDLERS = {
  update,
  'session.opened': (model, event, data) => {
    model.workspace = data.workspace;
    if (data.fallback) notice(model, event, 'warning', `No overlay: ${data.fallback}`);
  },
  'session.closed': stateIs(
    'closed',
    (data) => `Session closed, files ${data.workspace === 'kept' ? `kept: ${data.reason}` : 'removed'}`,
  ),
  'session.revived': stateIs('open', 'Session open again'),
  'session.archived': stateIs('archived', 'Session archived'),
  'session.unarchived': stateIs('open', 'Session back from the archive'),
  'turn.queued': turnQueued,
  'turn.edited': turnEdited,
  'turn.started': turnStarted,
  'turn.ended': turnEnded,
  'turn.steered': (model, event, data) => {
    add(model, event, 'prompt', { number: data.number, text: promptText(data.prompt), steered: true });
    const turn = model.turns.get(event.turn);
    if (turn) turn.flow = null;
  },
  'turn.stalled': (model, event, data) => {
    model.stalled = data.stalled ? data.why || 'no sign of life' : null;
  },
  'turn.taken_back': (model, event, data) =>
    notice(model, event, 'warning', `The turn starts anew: ${data.reason}`),
  'interaction.opened': questionOpened,
  'interaction.closed': questionClosed,
  'agent.attached': attached,
  'agent.exited': exited,
  'agent.failed': failed,
  'agent.decided': (model, event, data) => {
    model.decision = null;
    notice(model, event, 'info', `Decided for ${event.agent}: ${data.choice}`);
  },
  'agent.retrying': (model, event, data) =>
    notice(model, event, 'quiet', `${event.agent} is tried again: ${data.message}`),
  'agent.evicted': (model, event) => notice(model, event, 'quiet', `${event.agent} sleeps`),
  'agent.told': (model, event, data) =>
    notice(
      model,
      event,
      'quiet',
      `${event.agent} was told what it did not know (${data.what}, ${data.bytes} bytes)`,
    ),
  'agent.forgot': (model, event) => notice(model, event, 'info', `${event.agent} starts without memory`),
  'agent.junk': (model, event, data) =>
    notice(model, event, 'warning', `${event.agent} printed what is no message (${data.reason})`, data.head),
  'fifo.refused': (model, event, data) =>
    notice(model, event, 'warning', `A prompt from the FIFO was refused: ${data.reason}`),
  'change.recorded': changeRecorded,
  'change.applied': changeApplied,
  'change.restored': changeRestored,
  'config.changed': (model, event, data) =>
    notice(
      model,
      event,
      'quiet',
      data.mode ? `Mode: ${data.mode}` : 'Options changed',
      data.config ? JSON.stringify(data.config) : null,
    ),
  'policy.changed': (model, event, data) => notice(model, event, 'quiet', `Permissions: ${data.permission}`),
  'queue.held': (model, event, data) => {
    model.held = data.reason ?? '';
  },
  'queue.resumed': (model) => {
    model.held = null;
  },
};
