#!/usr/bin/env node
// model_server.mjs - a model server that follows a script: real agents run without a network.
//
//   node model_server.mjs [--port 0] [--delta-ms 5] [--log FILE]
//
// Prints {"ready":true,"port":N} and serves 127.0.0.1 until its stdin closes or its parent dies.
// Plain node (>= 18), no packages.
//
// The test writes what the model shall do into the prompt, as steps in double brackets:
//
//   Please write the notes. [[think A list will do.]] [[write notes.md one\ntwo]] [[say Done.]]
//
//   [[say TEXT]]      text, word by word          [[write PATH TEXT]]  the agent's writing tool
//   [[think TEXT]]    reasoning, word by word     [[read PATH]]        the agent's reading tool
//   [[slow N MS]]     N short texts, MS apart     [[shell COMMAND]]    the agent's shell tool
//   [[big BYTES]]     text that does not repeat   [[count]]            how many prompts with steps
//   [[pause MS]]      silence                                          this request holds
//   [[task STEPS]]    a sub-agent whose prompt is STEPS, in {{ }}      [[plan A|B|C]] a to-do list
//   [[error STATUS]]  an HTTP error instead       [[drop]]             cuts the connection
//   [[recall]]        the WORDs of all "the word is WORD" in the prompts that this request holds
//   [[now]]           the steps before it, in this prompt, are only told of: nobody follows them
//
// "\n" in TEXT is a line break. The steps of the last prompt that has any decide; a tool step ends
// one reply, and the request that brings its result goes on with the next step. A request that
// offers no tools is the agent's housekeeping (a title, a summary) and gets a short title.
import fs from 'node:fs';
import http from 'node:http';
import zlib from 'node:zlib';

import { kGemini, kMessages, kResponses, text_of } from './model_formats.mjs';

const option = (name, fallback) => {
  const at = process.argv.indexOf('--' + name);
  return at < 0 ? fallback : process.argv[at + 1];
};
const kPort = Number(option('port', 0));
const kDeltaMs = Number(option('delta-ms', 5));
const kLog = option('log', '');
const kBodyMax = 64 << 20;

const sleep = (ms) => new Promise((wake) => setTimeout(wake, ms));
const log = (entry) => kLog && fs.appendFileSync(kLog, JSON.stringify(entry) + '\n');
let ids = 0;
const new_id = (prefix) => `${prefix}${process.pid}_${++ids}`;

// ---- The script: conversation -> parts of one reply -------------------------------------------
//
// A conversation, whatever the wire format, is {messages: [{role, text}], tools: [{name, schema}]};
// a role is user, assistant, system or result (of a tool call). A part is one of {text}, {think},
// {call}, {pause: MS}, {drop}, {error: STATUS}.

const steps_of = (text) =>
  [...text.matchAll(/\[\[(\w+)\s*([\s\S]*?)\]\]/g)]
    .map(([, verb, rest]) => ({ verb, rest: rest.trim() }))
    .filter((_, at, all) => at > all.map(({ verb }) => verb).lastIndexOf('now'));

/** The steps of the last prompt that has any, its tool results so far, how many such prompts. */
function situation(messages) {
  let steps = [], results = 0, prompts = 0;
  for (const { role, text } of messages) {
    if (role === 'result') results++;
    const own = role === 'user' ? steps_of(text) : [];
    if (own.length === 0) continue;
    [steps, results] = [own, 0];
    prompts++;
  }
  return { steps, results, prompts };
}

function reply_parts(conversation) {
  if (conversation.tools.length === 0) return words('A scripted session', 'text');
  const { steps, results, prompts } = situation(conversation.messages);
  if (steps.length === 0) return words('There is no [[step]] in this prompt.', 'text');
  const parts = [];
  let answered = 0; // tool steps passed: those before `results` happened in earlier replies
  for (const { verb, rest } of steps) {
    const tool = kTools[verb];
    if (answered < results) {
      if (tool) answered++;
    } else if (tool) {
      const call = tool_call(conversation.tools, tool, rest);
      if (!call) return words(`No tool of this agent can "${verb}".`, 'text');
      return [...parts, { call }];
    } else {
      parts.push(...(kVerbs[verb] ?? unknown_verb(verb))(rest, prompts, conversation));
    }
  }
  return parts.length > 0 ? parts : words('Done.', 'text');
}

const unescape = (text) => text.replaceAll('\\n', '\n');
const words = (text, kind) =>
  (unescape(text).match(/\S+\s*|\s+/g) ?? []).map((word) => ({ [kind]: word }));
const unknown_verb = (verb) => () => words(`There is no step "${verb}".`, 'text');
const numbers = (rest) => rest.split(/\s+/).map(Number);

const kVerbs = {
  say: (rest) => words(rest + '\\n', 'text'),
  think: (rest) => words(rest + '\\n', 'think'),
  count: (rest, prompts) => words(`prompts seen: ${prompts}`, 'text'),
  recall: (rest, prompts, { messages }) => {
    const asked = messages.filter(({ role }) => role === 'user').map(({ text }) => text).join(' ');
    return words([...asked.matchAll(/the word is (\w+)/g)].map(([, word]) => word).join(' ') || 'none',
      'text');
  },
  pause: (rest) => [{ pause: numbers(rest)[0] }],
  error: (rest) => [{ error: numbers(rest)[0] }],
  drop: () => [{ drop: true }],
  slow: (rest) => {
    const [count, ms] = numbers(rest);
    return Array.from({ length: count }, (_, i) => [{ text: `tick ${i} ` }, { pause: ms }]).flat();
  },
  big: (rest) => {
    const parts = [];
    for (let left = numbers(rest)[0]; left > 0; left -= 1024) {
      parts.push({ text: prose(left).slice(0, Math.min(left, 1024)) });
    }
    return parts;
  },
};

/** 1 KiB of text; it differs by seed, because some agents stop a reply that looks like a loop. */
function prose(seed) {
  let state = (Math.imul(seed, 2654435761) + 12345) >>> 0, text = '';
  while (text.length < 1023) {
    state = (Math.imul(state ^ (state >>> 15), 2246822519) + 0x9e3779b9) >>> 0;
    text += state.toString(36) + ' ';
  }
  return text.slice(0, 1023) + '\n';
}

// ---- Tools: found by name among those that the agent declares, filled in by their own schema ----

const path_and_text = (rest) => {
  const path = rest.split(/\s/, 1)[0], text = unescape(rest.replace(/^\S+\s?/, ''));
  const added = text.split('\n').map((line) => `+${line}\n`).join('');
  const patch = `*** Begin Patch\n*** Add File: ${path}\n${added}*** End Patch\n`;
  return { path, text: text + '\n', patch };
};
const kTools = {
  write: {
    names: [/^(write|write_?file|create_?file|write_to_file|create)$/i, /^(apply_patch|editor)$/i],
    values: path_and_text,
  },
  read: { names: [/^(read|read_?file|view)$/i], values: path_and_text },
  shell: {
    names: [/^(bash|shell|run_shell_command|shell_command|exec_command|execute_command)$/i],
    values: (rest) => ({ command: rest }),
  },
  task: {
    names: [/^task$/i],
    values: (rest) => ({
      prompt: rest.replaceAll('{{', '[[').replaceAll('}}', ']]'), agent: 'general',
    }),
  },
  plan: {
    names: [/^todo_?write$/i],
    values: (rest) => ({
      todos: rest.split('|').map((content, i) => ({
        content, status: i === 0 ? 'in_progress' : 'pending', priority: 'medium', id: String(i),
      })),
    }),
  },
};
const kArguments = [
  [/^(file_?path|path|absolute_path)$/i, 'path'],
  [/^(content|contents|file_text|new_text)$/i, 'text'],
  [/^(patch_?text|input|patch)$/i, 'patch'],
  [/^(command|cmd)$/i, 'command'],
  [/^prompt$/i, 'prompt'],
  [/^subagent_type$/i, 'agent'],
  [/^todos$/i, 'todos'],
];

/** A call of the declared tool that fits, or null: agents name tools and arguments differently. */
function tool_call(declared, tool, rest) {
  const found = tool.names.map((pattern) => declared.find(({ name }) => pattern.test(name)))
    .find((match) => match);
  if (!found) return null;
  const values = tool.values(rest), args = {};
  const call = { id: new_id('call_'), name: found.name, namespace: found.namespace, args };
  if (found.free_text) return { ...call, free_text: values.patch ?? values.command };
  for (const [key, schema] of Object.entries(found.schema.properties ?? {})) {
    const value = values[kArguments.find(([pattern]) => pattern.test(key))?.[1]];
    if (value !== undefined) args[key] = value;
    else if (found.schema.required?.includes(key)) args[key] = filler(schema);
  }
  return call;
}

function filler(schema) {
  if (schema.enum) return schema.enum.includes('create') ? 'create' : schema.enum[0];
  const by_type = { boolean: false, integer: 1, number: 1, array: [], object: {} };
  return by_type[schema.type] ?? 'a scripted step';
}

// ---- Wire formats: each reads a request into a conversation and writes parts as its stream ------

const kChatCompletions = {
  path: /\/chat\/completions$/,

  conversation: (body) => ({
    messages: (body.messages ?? []).map(({ role, content }) => ({
      role: role === 'tool' ? 'result' : role,
      text: text_of(content),
    })),
    tools: (body.tools ?? []).map((tool) => ({
      name: tool.function?.name ?? '',
      schema: tool.function?.parameters ?? {},
    })),
  }),

  /** Writes the stream piece by piece; `send` takes one data object. */
  stream: (body, send) => {
    const created = Math.floor(Date.now() / 1000);
    const base = {
      id: new_id('chatcmpl-'), object: 'chat.completion.chunk', created, model: body.model,
    };
    const delta = (change, finish_reason = null) =>
      send({ ...base, choices: [{ index: 0, delta: change, finish_reason }] });
    const call_delta = (change) => delta({ tool_calls: [change] });
    let calls = 0, pieces = 0;
    delta({ role: 'assistant', content: '' });
    return {
      part: ({ text, think, call }) => {
        pieces++;
        if (text) return delta({ content: text });
        if (think) return delta({ reasoning_content: think });
        const index = calls++, args = JSON.stringify(call.args), half = args.length >> 1;
        const named = { name: call.name, arguments: '' };
        call_delta({ index, id: call.id, type: 'function', function: named });
        call_delta({ index, function: { arguments: args.slice(0, half) } });
        call_delta({ index, function: { arguments: args.slice(half) } });
      },
      end: () => {
        const prompt_tokens = JSON.stringify(body).length >> 2;
        const total_tokens = prompt_tokens + pieces;
        delta({}, calls ? 'tool_calls' : 'stop');
        const usage = { prompt_tokens, completion_tokens: pieces, total_tokens };
        send({ ...base, choices: [], usage });
        send('[DONE]');
      },
    };
  },

  whole: (body, parts) => ({
    id: new_id('chatcmpl-'), object: 'chat.completion', created: 1, model: body.model,
    choices: [{
      index: 0, finish_reason: 'stop',
      message: { role: 'assistant', content: parts.map((part) => part.text ?? '').join('') },
    }],
    usage: { prompt_tokens: 1, completion_tokens: parts.length, total_tokens: parts.length + 1 },
  }),

  error: kResponses.error,
};

const kFormats = [kChatCompletions, kMessages, kResponses, kGemini];

// ---- HTTP ---------------------------------------------------------------------------------------

function answer_json(response, status, value) {
  response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(value));
}

async function read_json(request) {
  const chunks = [];
  let size = 0;
  for await (const chunk of request) {
    size += chunk.length;
    if (size > kBodyMax) throw new Error('the body is too large');
    chunks.push(chunk);
  }
  const whole = Buffer.concat(chunks);
  const zipped = request.headers['content-encoding'] === 'gzip';
  return size > 0 ? JSON.parse(zipped ? zlib.gunzipSync(whole) : whole) : {};
}

/** Streams the parts at their pace; returns early when the agent hangs up: its way to cancel. */
async function play(parts, stream, response) {
  for (const part of parts) {
    if (response.destroyed) return;
    if (part.drop) return void response.destroy();
    if (part.pause === undefined) stream.part(part);
    await sleep(part.pause ?? kDeltaMs);
  }
  if (response.destroyed) return;
  stream.end();
  response.end();
}

async function serve(request, response) {
  const path = new URL(request.url, 'http://localhost').pathname;
  if (request.method === 'GET' && path.endsWith('/models')) {
    return answer_json(response, 200, { object: 'list', data: [{ id: 'scripted-model' }] });
  }
  const format = request.method === 'POST' && kFormats.find((known) => known.path.test(path));
  if (!format) {
    return answer_json(response, 404, { error: { message: `no route ${request.method} ${path}` } });
  }
  const body = await read_json(request);
  const conversation = format.conversation(body), parts = reply_parts(conversation);
  const error = parts.find((part) => part.error)?.error;
  log({
    time: Date.now(), path, error,
    messages: conversation.messages.length,
    prompts: situation(conversation.messages).prompts,
    tools: conversation.tools.map((tool) => tool.name),
    calls: parts.filter((part) => part.call).map((part) => part.call),
  });
  if (error) return answer_json(response, error, format.error(error));
  const wants_stream = format.wants_stream?.(body, path) ?? body.stream;
  if (!wants_stream && format.whole) return answer_json(response, 200, format.whole(body, parts));
  response.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-cache' });
  const send = (data, event) => {
    const line = typeof data === 'string' ? data : JSON.stringify(data);
    response.write(`${event ? `event: ${event}\n` : ''}data: ${line}\n\n`);
  };
  await play(parts, format.stream(body, send), response);
}

const server = http.createServer((request, response) =>
  serve(request, response).catch((failure) => {
    log({ time: Date.now(), failed: String(failure) });
    if (response.headersSent) response.destroy();
    else answer_json(response, 400, { error: { message: String(failure) } });
  }));

// Nobody has to remember to stop this server. A stdin that is /dev/null or a terminal says nothing.
const leave = () => process.exit(0);
const stdin = fs.fstatSync(0);
if (stdin.isFIFO() || stdin.isSocket()) process.stdin.resume().on('end', leave).on('error', leave);
const parent = process.ppid;
setInterval(() => process.ppid === parent || leave(), 500).unref();
server.listen(kPort, '127.0.0.1', () =>
  console.log(JSON.stringify({ ready: true, port: server.address().port })));
