// The live page: pieces of HTML come over one stream and are put where they belong. No library, no state but what is on screen.
'use strict';
(() => {
  const byId = (id) => document.getElementById(id);
  const parser = new DOMParser();
  const STALE = 6000;

  // ---- the token, beyond loopback ----
  let token = sessionStorage.getItem('brownout-token');
  const headers = (more) => (token ? { ...more, authorization: 'Bearer ' + token } : { ...more });
  const askForToken = () => new Promise((done) => {
    const door = byId('door');
    door.hidden = false;
    byId('token').focus();
    door.onsubmit = (event) => {
      event.preventDefault();
      token = byId('token').value.trim();
      sessionStorage.setItem('brownout-token', token);
      byId('token').value = '';
      door.hidden = true;
      done();
    };
  });

  // ---- from what is there to what should be, so that focus, selection and scrolling stay ----
  const keyOf = (node) => (node.nodeType === 1 && (node.id || node.dataset.key)) || '';
  const morph = (old, fresh) => {
    if (old.nodeType !== 1) {
      if (old.nodeValue !== fresh.nodeValue) old.nodeValue = fresh.nodeValue;
      return;
    }
    for (const { name } of [...old.attributes]) if (!fresh.hasAttribute(name)) old.removeAttribute(name);
    for (const { name, value } of fresh.attributes) if (old.getAttribute(name) !== value) old.setAttribute(name, value);
    children(old, fresh);
  };
  const children = (old, fresh) => {
    const keyed = new Map();
    for (const node of old.childNodes) if (keyOf(node)) keyed.set(keyOf(node), node);
    let at = old.firstChild;
    for (const want of [...fresh.childNodes]) {
      const key = keyOf(want);
      const fits = at && at.nodeName === want.nodeName && !keyOf(at);
      const have = key ? keyed.get(key) : fits ? at : null;
      if (have && have.nodeName === want.nodeName) {
        if (have === at) at = at.nextSibling;
        else old.insertBefore(have, at);
        morph(have, want);
      } else {
        old.insertBefore(document.importNode(want, true), at);
      }
    }
    while (at) {
      const next = at.nextSibling;
      at.remove();
      at = next;
    }
  };
  const put = (id, html) => {
    let place = byId(id);
    if (!place && id.startsWith('edge-')) {
      place = document.createElement('div');
      place.id = id;
      byId('edges').append(place);
    }
    if (place) children(place, parser.parseFromString('<!doctype html><body>' + html, 'text/html').body);
  };

  const show = ({ title, runs, edges, pieces }) => {
    document.title = title;
    document.body.classList.toggle('serves', !runs);
    for (const [id, html] of Object.entries(pieces)) put(id, html);
    const list = byId('edges');
    for (const place of [...list.children]) if (!edges.includes(place.id)) place.remove();
    edges.forEach((id, n) => {
      const place = byId(id);
      if (place && list.children[n] !== place) list.insertBefore(place, list.children[n] || null);
    });
    document.body.classList.remove('waiting');
  };

  // ---- what went wrong ----
  const say = (text) => {
    byId('said').hidden = !text;
    byId('said').textContent = text;
  };

  // ---- the stream; fetch, because an EventSource cannot send a token ----
  let ended = false;
  const lost = (text) => {
    byId('lost').hidden = !text;
    byId('lost').textContent = text;
    byId('lost').className = 'banner ' + (ended ? 'ended' : 'lost');
    document.body.classList.toggle('lost', Boolean(text) && !ended);
  };
  const pause = (time) => new Promise((done) => setTimeout(done, time));

  const listen = async (answer, alive) => {
    const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    let text = '';
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      alive();
      text += value;
      for (let end = text.indexOf('\n\n'); end >= 0; end = text.indexOf('\n\n')) {
        const lines = text.slice(0, end).split('\n');
        text = text.slice(end + 2);
        const of = (name) => (lines.find((line) => line.startsWith(name)) || '').slice(name.length);
        const kind = of('event: ');
        if (kind === 'frame') {
          ended = false;
          lost('');
          show(JSON.parse(of('data: ')));
        } else if (kind === 'end') {
          ended = true;
        }
      }
    }
  };

  const watch = async () => {
    for (let wait = 500; ; wait = Math.min(wait * 2, 4000)) {
      const abort = new AbortController();
      let timer = 0;
      let heard = false;
      const alive = () => {
        clearTimeout(timer);
        timer = setTimeout(() => abort.abort(), STALE);
        wait = 250;
        heard = true;
      };
      let why = '';
      try {
        timer = setTimeout(() => abort.abort(), STALE);
        const answer = await fetch('/api/v1/live', { headers: headers(), signal: abort.signal, cache: 'no-store' });
        if (answer.status === 401) {
          clearTimeout(timer);
          if (token) say('That token was not the right one.');
          await askForToken();
          say('');
          wait = 250;
          continue;
        }
        if (!answer.ok) throw new Error((await answer.json()).error);
        await listen(answer, alive);
        clearTimeout(timer);
        if (!ended) {
          await pause(wait);
          continue;
        }
      } catch (error) {
        clearTimeout(timer);
        // Cut off in the middle: whether nobody is there shows at the next call.
        if (heard && error.name !== 'AbortError') {
          await pause(wait);
          continue;
        }
        why = error instanceof TypeError || error.name === 'AbortError' ? '' : error.message;
      }
      lost(ended
        ? 'This Brownout has ended. What you see is how it stood; the page goes on when one answers again.'
        : 'No connection' + (why ? ': ' + why : '') + '. What you see is old; trying again.');
      await pause(wait);
    }
  };

  // ---- what one can do ----
  const call = async (path, body) => {
    const answer = await fetch('/api/v1/' + path, {
      method: 'POST',
      headers: headers({ 'content-type': 'application/json' }),
      body: JSON.stringify(body || {}),
    });
    if (answer.status === 401) {
      await askForToken();
      return call(path, body);
    }
    if (!answer.ok) throw new Error((await answer.json()).error);
    return undefined;
  };
  const acts = {
    halt: () => call('halt'),
    lift: () => call('halt/lift'),
    'heal-all': () => call('heal'),
    heal: ({ name }) => call('faults/' + encodeURIComponent(name) + '/heal'),
    arm: ({ name, ttl }) => {
      const life = byId(ttl).value;
      return call('faults/' + encodeURIComponent(name) + '/arm', life ? { ttl: life } : {});
    },
  };
  document.addEventListener('click', async (event) => {
    const button = event.target.closest('button[data-act]');
    if (!button) return;
    const act = acts[button.dataset.act];
    say('');
    button.setAttribute('aria-busy', 'true');
    try {
      await act(button.dataset);
    } catch (error) {
      say(error instanceof TypeError ? 'Nobody answers: it was not done.' : error.message);
    } finally {
      button.removeAttribute('aria-busy');
    }
  });

  watch();
})();
