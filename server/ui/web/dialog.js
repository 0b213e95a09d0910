// dialog.js — modal dialogs on the browser's <dialog>: focus stays inside, Escape closes.
import { button, h } from './dom.js';

let count = 0;

/**
 * Shows a dialog until it is closed. `build(close)` gives the content and the buttons of its foot;
 * resolves with what close() was given, or null.
 */
export function showDialog(title, build, { wide = false } = {}) {
  return new Promise((resolve) => {
    let result = null;
    count += 1;
    const id = `dialog-title-${count}`;
    const node = h('dialog', { class: wide ? 'wide' : '', 'aria-labelledby': id });
    const close = (value = null) => {
      result = value;
      node.close();
    };
    const { content, actions, submit } = build(close);
    node.append(
      h(
        'form',
        {
          method: 'dialog',
          on: {
            submit: (event) => {
              event.preventDefault();
              submit?.();
            },
          },
        },
        h(
          'header',
          null,
          h('h2', { id }, title),
          button('✕', () => close(), { class: 'quiet', 'aria-label': 'Close' }),
        ),
        h('div', { class: 'dialog-body' }, content),
        h('footer', { class: 'actions' }, actions),
      ),
    );
    node.addEventListener('close', () => {
      node.remove();
      resolve(result);
    });
    node.addEventListener('click', (event) => {
      if (event.target === node) close();
    });
    document.body.append(node);
    node.showModal();
  });
}

/** Asks; true if the person agreed. */
export async function confirmDialog(title, content, agree, { danger = false } = {}) {
  return (
    (await showDialog(title, (close) => ({
      content,
      actions: [
        button('Cancel', () => close(), { class: 'quiet' }),
        h('button', { type: 'submit', class: danger ? 'danger' : 'primary' }, agree),
      ],
      submit: () => close(true),
    }))) === true
  );
}

/** A labelled control of a dialog. */
export function labelled(label, control, hint) {
  count += 1;
  control.id ||= `control-${count}`;
  return h(
    'div',
    { class: 'field' },
    h('label', { htmlFor: control.id }, label),
    control,
    hint ? h('div', { class: 'caption' }, hint) : null,
  );
}
