// questions_view.js — what an agent asks: permissions, forms, client tools, and how they were answered.
import { button, fill, h, select } from './dom.js';
import { shortPath } from './words.js';
import { sessionPath } from './api.js';
import { own } from './table.js';
import { clip, contentNodes, inputText } from './tool_body.js';
import { toast } from './toast.js';

/** Shows the question of `item` in `node`, as it stands. */
export function questionCard(node, item, ctx) {
  node.dataset.state = item.state;
  if (item.state !== 'open') return fill(node, closedLine(item));
  const answer = async (body) => {
    for (const control of node.querySelectorAll('button, input, select')) control.disabled = true;
    try {
      await ctx.api.send('POST', sessionPath(ctx.session, 'interactions', item.question), body);
    } catch (problem) {
      for (const control of node.querySelectorAll('button, input, select')) control.disabled = false;
      // Somebody was quicker: the event that says who is on its way.
      toast(
        problem.code === 'already_answered' ? 'Somebody else has answered this already.' : problem.message,
        problem.code === 'already_answered' ? 'info' : 'error',
      );
    }
  };
  const from = [item.agent, item.child ? '(sub-agent)' : ''].filter(Boolean).join(' ');
  const body =
    item.asks === 'permission'
      ? permission(item, answer)
      : item.asks === 'elicitation'
        ? form(item, answer)
        : clientTool(item, answer);
  return fill(
    node,
    h(
      'header',
      null,
      h('span', { class: 'ask-mark', 'aria-hidden': 'true' }, '?'),
      h('b', null, own(TITLES, item.asks) ?? 'Question'),
      h('span', { class: 'caption' }, from),
    ),
    body,
  );
}

const TITLES = {
  permission: 'Permission needed',
  elicitation: 'Please fill in',
  client_tool: 'Tool of yours',
};

function closedLine(item) {
  const name = nameOf(item);
  const answer = item.answer?.option_id
    ? optionName(item, item.answer.option_id)
    : (item.answer?.action ?? '');
  return h(
    'div',
    { class: 'answered' },
    h('span', null, name),
    h('b', null, item.state === 'answered' ? answer : item.state),
    h('span', { class: 'caption' }, item.by ? `by ${item.by}` : ''),
  );
}

function nameOf(item) {
  return item.request.toolCall?.title ?? item.request.message ?? item.request.method ?? item.asks;
}

function optionName(item, id) {
  return (item.request.options ?? []).find((option) => option.optionId === id)?.name ?? id;
}

function permission(item, answer) {
  const call = item.request.toolCall ?? {};
  const input = inputText(call.rawInput);
  const order = ['allow_once', 'allow_always', 'reject_once', 'reject_always'];
  const options = [...(item.request.options ?? [])].sort(
    (a, b) => order.indexOf(a.kind) - order.indexOf(b.kind),
  );
  return [
    h('div', { class: 'ask-title' }, call.title ?? 'a tool call'),
    input && input !== call.title ? h('pre', null, clip(input)) : null,
    contentNodes(call.content),
    (call.locations ?? []).map((place) => h('div', { class: 'path' }, shortPath(place.path))),
    h(
      'div',
      { class: 'actions' },
      options.map((option, i) =>
        button(option.name, () => answer({ option_id: option.optionId }), {
          class: option.kind?.startsWith('allow') ? (i === 0 ? 'primary' : '') : 'danger quiet',
        }),
      ),
    ),
  ];
}

function form(item, answer) {
  const schema = item.request.requestedSchema ?? {};
  const required = new Set(schema.required ?? []);
  const fields = Object.entries(schema.properties ?? {}).map(([name, property]) =>
    field(name, property, required.has(name)),
  );
  const submit = (event) => {
    event.preventDefault();
    const content = {};
    for (const { name, value } of fields) {
      const given = value();
      if (given !== undefined) content[name] = given;
    }
    answer({ action: 'accept', content });
  };
  return [
    h('div', { class: 'ask-title' }, item.request.message ?? ''),
    h(
      'form',
      { on: { submit } },
      fields.map(({ row }) => row),
      h(
        'div',
        { class: 'actions' },
        h('button', { type: 'submit', class: 'primary' }, 'Submit'),
        button('Decline', () => answer({ action: 'decline' }), { class: 'quiet' }),
      ),
    ),
  ];
}

/** A field of a form: its row, and its value for the answer (undefined: left out). */
function field(name, property, required) {
  const id = `field-${name}-${Math.random().toString(36).slice(2)}`;
  const choices = property.enum ?? property.oneOf?.map((choice) => choice.const);
  const names = property.enumNames ?? property.oneOf?.map((choice) => choice.title) ?? [];
  const props = { id, required, 'aria-describedby': property.description ? `${id}-hint` : null };
  let input;
  let value;
  if (choices) {
    const options = choices.map((choice, i) => [String(choice), names[i] ?? String(choice)]);
    if (!required) options.unshift(['', '—']);
    input = select(options, null, props);
    value = () => choices.find((choice) => String(choice) === input.value);
  } else if (property.type === 'boolean') {
    input = h('input', { ...props, type: 'checkbox', required: false, checked: property.default === true });
    value = () => input.checked;
  } else if (property.type === 'number' || property.type === 'integer') {
    input = h('input', {
      ...props,
      type: 'number',
      step: property.type === 'integer' ? 1 : 'any',
      min: property.minimum,
      max: property.maximum,
      value: property.default ?? '',
    });
    value = () => (input.value === '' ? undefined : Number(input.value));
  } else if (property.type === 'array') {
    input = h('input', { ...props, type: 'text', placeholder: 'separated by commas' });
    value = () =>
      input.value === '' && !required
        ? undefined
        : input.value
            .split(',')
            .map((part) => part.trim())
            .filter(Boolean);
  } else {
    const type = own({ email: 'email', uri: 'url', date: 'date' }, property.format) ?? 'text';
    input = h('input', { ...props, type, value: property.default ?? '' });
    value = () => (input.value === '' && !required ? undefined : input.value);
  }
  if (choices && property.default !== undefined) input.value = String(property.default);
  const row = h(
    'div',
    { class: 'field' },
    h(
      'label',
      { htmlFor: id },
      property.title ?? name,
      required ? h('span', { class: 'required', 'aria-hidden': 'true' }, ' *') : null,
    ),
    input,
    property.description ? h('div', { class: 'caption', id: `${id}-hint` }, property.description) : null,
  );
  return { name, row, value };
}

function clientTool(item, answer) {
  const input = h('textarea', { rows: 4, value: '{}', 'aria-label': 'Result as JSON' });
  const give = () => {
    try {
      answer({ action: 'accept', content: JSON.parse(input.value) });
    } catch (failure) {
      toast(`Not JSON: ${failure.message}`, 'error');
    }
  };
  return [
    h('div', { class: 'ask-title' }, nameOf(item)),
    h('pre', null, JSON.stringify(item.request, null, 2).slice(0, 4000)),
    input,
    h(
      'div',
      { class: 'actions' },
      button('Give result', give, { class: 'primary' }),
      button('Decline', () => answer({ action: 'decline' }), { class: 'quiet' }),
    ),
  ];
}
