// model_formats.mjs - wire formats of model servers besides OpenAI's chat completions.
//
// Each has: path (of its requests), conversation(body) -> {messages, tools}, stream(body, send) ->
// {part, end}, whole(body, parts) for a request that wants no stream, and error(status). `send`
// takes one data object, and the name of its event where the format has one. What is sent is what
// satisfied the real agents (docs/agents.md has the versions), and no more.
import process from 'node:process';

let ids = 0;
const new_id = (prefix) => `${prefix}${process.pid}_f${++ids}`;
const kSignature = 'c2NyaXB0ZWQ='; // any base64 will do

export const text_of = (content) => {
  if (typeof content === 'string') return content;
  if (Array.isArray(content)) return content.map(text_of).join('\n');
  return content?.text ?? (content?.content ? text_of(content.content) : '');
};
const joined = (parts, kind) => parts.map((part) => part[kind] ?? '').join('');
const calls_of = (parts) => parts.filter((part) => part.call).map((part) => part.call);
const tokens_in = (body) => JSON.stringify(body).length >> 2;

// ---- Anthropic messages (claude) ----------------------------------------------------------------

export const kMessages = {
  path: /\/messages$/,

  conversation: (body) => ({
    messages: (body.messages ?? []).flatMap(({ role, content }) =>
      (Array.isArray(content) ? content : [{ type: 'text', text: content }]).map((block) => ({
        role: block.type === 'tool_result' ? 'result' : role,
        text: text_of(block.type === 'tool_result' ? block.content : block),
      }))),
    tools: (body.tools ?? []).map(({ name, input_schema }) => ({
      name, schema: input_schema ?? {},
    })),
  }),

  stream: (body, send) => {
    const event = (type, rest = {}) => send({ type, ...rest }, type);
    const usage = {
      input_tokens: tokens_in(body), output_tokens: 1,
      cache_creation_input_tokens: 0, cache_read_input_tokens: 0,
    };
    const message = {
      id: new_id('msg_'), type: 'message', role: 'assistant', model: body.model, content: [],
      stop_reason: null, stop_sequence: null, usage,
    };
    event('message_start', { message });
    let index = -1, open = '', pieces = 0, called = false;
    const delta = (change) => event('content_block_delta', { index, delta: change });
    const close = () => {
      if (open === 'thinking') delta({ type: 'signature_delta', signature: kSignature });
      if (open) event('content_block_stop', { index });
      open = '';
    };
    const block = (type, content_block) => {
      if (open === type && type !== 'tool_use') return;
      close();
      open = type;
      index++;
      event('content_block_start', { index, content_block: { type, ...content_block } });
    };
    return {
      part: ({ text, think, call }) => {
        pieces++;
        if (text) {
          block('text', { text: '' });
          return delta({ type: 'text_delta', text });
        }
        if (think) {
          block('thinking', { thinking: '', signature: '' });
          return delta({ type: 'thinking_delta', thinking: think });
        }
        called = true;
        block('tool_use', { id: call.id, name: call.name, input: {} });
        const args = JSON.stringify(call.args), half = args.length >> 1;
        delta({ type: 'input_json_delta', partial_json: args.slice(0, half) });
        delta({ type: 'input_json_delta', partial_json: args.slice(half) });
      },
      end: () => {
        close();
        const stop_reason = called ? 'tool_use' : 'end_turn';
        event('message_delta', {
          delta: { stop_reason, stop_sequence: null }, usage: { ...usage, output_tokens: pieces },
        });
        event('message_stop');
      },
    };
  },

  whole: (body, parts) => ({
    id: new_id('msg_'), type: 'message', role: 'assistant', model: body.model,
    content: [
      { type: 'text', text: joined(parts, 'text') },
      ...calls_of(parts).map(({ id, name, args }) => ({ type: 'tool_use', id, name, input: args })),
    ],
    stop_reason: calls_of(parts).length ? 'tool_use' : 'end_turn', stop_sequence: null,
    usage: { input_tokens: tokens_in(body), output_tokens: parts.length },
  }),

  error: (status) => {
    const type = status < 500 ? 'invalid_request_error' : 'api_error';
    return { type: 'error', error: { type, message: `scripted error ${status}` } };
  },
};

// ---- OpenAI responses (codex) -------------------------------------------------------------------

/** codex nests tools in namespaces, and has tools that take free text instead of JSON. */
function declared(tools, namespace) {
  return (tools ?? []).flatMap((tool) => {
    if (tool.type === 'namespace') return declared(tool.tools, tool.name);
    if (tool.type !== 'function' && tool.type !== 'custom') return [];
    const free_text = tool.type === 'custom';
    return [{ name: tool.name, namespace, free_text, schema: tool.parameters ?? {} }];
  });
}

function call_item({ id, name, namespace, args, free_text }) {
  const common = { call_id: id, name, status: 'completed' };
  if (free_text !== undefined) {
    return { type: 'custom_tool_call', id: new_id('ctc_'), input: free_text, ...common };
  }
  const within = namespace ? { namespace } : {};
  return {
    type: 'function_call', id: new_id('fc_'), arguments: JSON.stringify(args), ...within, ...common,
  };
}

/** The open item of a stream: a message or reasoning that grows by deltas. */
class OpenItem {
  constructor(kind, index, send) {
    Object.assign(this, { kind, index, send, id: new_id(kind === 'think' ? 'rs_' : 'msg_') });
    this.text = '';
    const at = { output_index: index };
    if (kind === 'think') {
      const item = { type: 'reasoning', id: this.id, summary: [], encrypted_content: null };
      send('response.output_item.added', { ...at, item });
      this.part('response.reasoning_summary_part.added', { summary_index: 0 });
    } else {
      const item = {
        type: 'message', id: this.id, role: 'assistant', status: 'in_progress', content: [],
      };
      send('response.output_item.added', { ...at, item });
      this.part('response.content_part.added', { content_index: 0 });
    }
  }

  body() {
    return this.kind === 'think' ? { type: 'summary_text', text: this.text }
      : { type: 'output_text', text: this.text, annotations: [], logprobs: [] };
  }

  part(type, where) {
    this.send(type, {
      item_id: this.id, output_index: this.index, ...where, part: this.body(),
    });
  }

  grow(delta) {
    this.text += delta;
    const at = { item_id: this.id, output_index: this.index };
    if (this.kind === 'think') {
      this.send('response.reasoning_summary_text.delta', { ...at, summary_index: 0, delta });
    } else {
      this.send('response.output_text.delta', { ...at, content_index: 0, delta, logprobs: [] });
    }
  }

  close() {
    const at = { item_id: this.id, output_index: this.index }, text = this.text;
    let item = { type: 'reasoning', id: this.id, summary: [this.body()] };
    if (this.kind === 'think') {
      this.send('response.reasoning_summary_text.done', { ...at, summary_index: 0, text });
      this.part('response.reasoning_summary_part.done', { summary_index: 0 });
      item.encrypted_content = kSignature;
    } else {
      this.send('response.output_text.done', { ...at, content_index: 0, text, logprobs: [] });
      this.part('response.content_part.done', { content_index: 0 });
      item = { type: 'message', id: this.id, role: 'assistant', status: 'completed' };
      item.content = [this.body()];
    }
    this.send('response.output_item.done', { output_index: this.index, item });
    return item;
  }
}

export const kResponses = {
  path: /\/responses$/,

  conversation: (body) => ({
    messages: [body.input ?? []].flat().flatMap((item) => {
      if (/call_output$/.test(item.type)) return [{ role: 'result', text: text_of(item.output) }];
      return item.role ? [{ role: item.role, text: text_of(item.content) }] : [];
    }),
    tools: declared(body.tools),
  }),

  stream: (body, send) => {
    let number = 0, open = null;
    const output = [];
    const event = (type, rest) => send({ type, sequence_number: number++, ...rest }, type);
    const head = {
      id: new_id('resp_'), object: 'response', created_at: Math.floor(Date.now() / 1000),
      model: body.model, status: 'in_progress', output: [], parallel_tool_calls: true,
      tool_choice: 'auto', tools: [], error: null, incomplete_details: null, instructions: null,
      metadata: {}, temperature: 1, top_p: 1, usage: null,
    };
    event('response.created', { response: head });
    event('response.in_progress', { response: head });
    const close = () => {
      if (open) output.push(open.close());
      open = null;
    };
    const grow = (kind, text) => {
      if (open?.kind !== kind) {
        close();
        open = new OpenItem(kind, output.length, event);
      }
      open.grow(text);
    };
    const call = (made) => {
      close();
      const item = call_item(made), at = { output_index: output.length };
      const what = item.type === 'function_call' ? 'arguments' : 'input';
      const name = what === 'arguments' ? 'function_call_arguments' : 'custom_tool_call_input';
      const started = { ...item, [what]: '', status: 'in_progress' };
      event('response.output_item.added', { ...at, item: started });
      event(`response.${name}.delta`, { item_id: item.id, ...at, delta: item[what] });
      event(`response.${name}.done`, { item_id: item.id, ...at, [what]: item[what] });
      event('response.output_item.done', { ...at, item });
      output.push(item);
    };
    return {
      part: (part) => {
        if (part.call) call(part.call);
        else grow(part.text ? 'text' : 'think', part.text ?? part.think);
      },
      end: () => {
        close();
        const input_tokens = tokens_in(body), output_tokens = output.length;
        const usage = {
          input_tokens, input_tokens_details: { cached_tokens: 0 },
          output_tokens, output_tokens_details: { reasoning_tokens: 0 },
          total_tokens: input_tokens + output_tokens,
        };
        event('response.completed', { response: { ...head, status: 'completed', output, usage } });
      },
    };
  },

  error: (status) => {
    const type = status < 500 ? 'invalid_request_error' : 'server_error';
    return { error: { message: `scripted error ${status}`, type, code: null, param: null } };
  },
};

// ---- Gemini -------------------------------------------------------------------------------------

const gemini_part = ({ text, think, call }) => {
  if (think) return { text: think, thought: true };
  if (!call) return { text };
  const { id, name, args } = call;
  return { functionCall: { id, name, args }, thoughtSignature: kSignature };
};
const gemini_reply = (body, parts, finishReason) => {
  const promptTokenCount = tokens_in(body), candidatesTokenCount = parts.length;
  const content = { role: 'model', parts };
  return {
    candidates: [{ content, index: 0, ...(finishReason ? { finishReason } : {}) }],
    usageMetadata: {
      promptTokenCount, candidatesTokenCount,
      totalTokenCount: promptTokenCount + candidatesTokenCount,
    },
    modelVersion: 'scripted',
  };
};

export const kGemini = {
  path: /\/models\/[^:]+:(streamG|g)enerateContent$/,
  wants_stream: (_, path) => path.endsWith(':streamGenerateContent'),

  conversation: (body) => ({
    messages: (body.contents ?? []).flatMap(({ role, parts }) => (parts ?? []).map((part) => ({
      role: part.functionResponse ? 'result' : role === 'model' ? 'assistant' : 'user',
      text: part.text ?? '',
    }))),
    tools: (body.tools ?? []).flatMap((tool) => tool.functionDeclarations ?? []).map((tool) => ({
      name: tool.name, schema: tool.parametersJsonSchema ?? tool.parameters ?? {},
    })),
  }),

  stream: (body, send) => ({
    part: (part) => send(gemini_reply(body, [gemini_part(part)])),
    end: () => send(gemini_reply(body, [{ text: '' }], 'STOP')),
  }),

  whole: (body, parts) => gemini_reply(body, [
    { text: joined(parts, 'text') }, ...calls_of(parts).map((call) => gemini_part({ call })),
  ], 'STOP'),

  error: (code) => ({ error: { code, message: `scripted error ${code}`, status: 'ABORTED' } }),
};
