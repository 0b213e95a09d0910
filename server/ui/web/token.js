// token.js — how the page comes to its token: from the link's fragment, kept, or asked for.
import { h } from './dom.js';

const KEY = 'berth.token';

/** Takes a token out of the address, which then no longer shows it; null without any. */
export function findToken() {
  const found = /^#token=([^&]+)&?(.*)$/.exec(location.hash);
  if (found) {
    sessionStorage.setItem(KEY, decodeURIComponent(found[1]));
    history.replaceState(null, '', location.pathname + location.search + (found[2] ? `#${found[2]}` : ''));
  }
  return sessionStorage.getItem(KEY) ?? localStorage.getItem(KEY);
}

export function forgetToken() {
  sessionStorage.removeItem(KEY);
  localStorage.removeItem(KEY);
}

/** Shows the form that asks for a token, in `root`; `why` says what is wrong with the last one. */
export function askForToken(root, why, given) {
  const input = h('input', {
    type: 'password',
    id: 'token',
    autocomplete: 'off',
    required: true,
    spellcheck: false,
  });
  const remember = h('input', { type: 'checkbox', id: 'remember' });
  const submit = (event) => {
    event.preventDefault();
    (remember.checked ? localStorage : sessionStorage).setItem(KEY, input.value.trim());
    given(input.value.trim());
  };
  root.replaceChildren(
    h(
      'main',
      { class: 'sign-in' },
      h(
        'form',
        { on: { submit } },
        h('img', { src: 'ui/favicon.svg', alt: '', width: 40, height: 40 }),
        h('h1', null, 'berth'),
        h(
          'p',
          null,
          'Open the link that ',
          h('code', null, 'berth serve'),
          ' prints, or give the token. It is in the file ',
          h('code', null, 'token'),
          ' of the server’s state folder.',
        ),
        why ? h('div', { class: 'problem', role: 'alert' }, why) : null,
        h('div', { class: 'field' }, h('label', { htmlFor: 'token' }, 'Token'), input),
        h('label', { class: 'check', htmlFor: 'remember' }, remember, ' Remember on this device'),
        h('button', { type: 'submit', class: 'primary' }, 'Continue'),
      ),
    ),
  );
  input.focus();
}
