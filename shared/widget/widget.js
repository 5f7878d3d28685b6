/* Latchkey web chat. <script src=".../widget.js" data-install="ID" data-token-url="/chat-token"></script>
   or latchkey.chat({install, getToken}). Text is only ever set as text; nothing here is HTML of anybody's. */
(function () {
  "use strict";
  /* <img name=currentScript> is found there, too, and is nobody's script. */
  var script = document.currentScript instanceof HTMLScriptElement ? document.currentScript : null;
  var KEEP = 48 * 3600 * 1000, MAX_TEXT = 16000, ASK = 1000, ASK_MAX = 5000, ASK_CLOSED = 30000, TIMEOUT = 15000;
  var LABELS = {
    title: "Chat", open: "Open chat", close: "Close chat", log: "Conversation", input: "Your message", send: "Send", you: "You", agent: "Assistant",
    human: "Team", notice: "Notice", typing: "An answer is being written…", sending: "Sending…", waiting: "Not sent yet, trying again…",
    failed: "Not sent.", again: "Try again", drop: "Remove", offline: "No connection. What you write is sent later.",
    signin: "The chat has to know who you are. Please sign in again.", refused: "The chat is not available on this page.", unbound: "Nobody answers here yet.", long: "This message is too long."
  };
  var CSS = ":host{all:initial;--a:#2557d6;--b:#fff;--t:#1b1f27;--m:#eef1f6;--l:#d5dae3;--s:#5b6473;position:fixed;z-index:2147483000;bottom:20px;right:20px;font:15px/1.45 system-ui,sans-serif;color:var(--t)}" +
    ":host([data-side=left]){right:auto;left:20px}:host([data-theme=dark]){--b:#181b21;--t:#eceff4;--m:#272c36;--l:#3a4150;--s:#a3adbd;--a:#6f9bff}" +
    "@media (prefers-color-scheme:dark){:host([data-theme=auto]){--b:#181b21;--t:#eceff4;--m:#272c36;--l:#3a4150;--s:#a3adbd;--a:#6f9bff}}" +
    "*{box-sizing:border-box}[hidden]{display:none!important}button,textarea{font:inherit;color:inherit}button{cursor:pointer}:focus-visible{outline:3px solid var(--a);outline-offset:2px}" +
    ".go{width:56px;height:56px;border:0;border-radius:50%;background:var(--a);color:#fff;font-size:24px;line-height:1;box-shadow:0 4px 14px #0004;display:block;margin-left:auto}" +
    ".n{position:absolute;right:0;bottom:40px;min-width:18px;height:18px;border-radius:9px;background:#c62828;color:#fff;font-size:12px;line-height:18px;text-align:center;padding:0 4px}" +
    ".p{display:flex;flex-direction:column;width:min(380px,calc(100vw - 40px));height:min(560px,calc(100vh - 120px));margin-bottom:12px;background:var(--b);border:1px solid var(--l);border-radius:12px;overflow:hidden;box-shadow:0 8px 30px #0003}" +
    ".h{display:flex;align-items:center;justify-content:space-between;padding:10px 14px;border-bottom:1px solid var(--l)}.h h2{margin:0;font-size:16px}.x{border:0;background:none;font-size:20px;padding:2px 8px}" +
    ".l{flex:1;overflow-y:auto;padding:12px 14px}.m{margin:0 0 10px;max-width:85%}.m p{margin:0;padding:8px 12px;border-radius:12px;background:var(--m);white-space:pre-wrap;overflow-wrap:anywhere}" +
    ".m.user{margin-left:auto}.m.user p{background:var(--a);color:#fff}.m.notice p{background:none;border:1px dashed var(--l)}.w{font-size:12px;color:var(--s);margin:0 4px 2px}.w button{border:0;background:none;text-decoration:underline;padding:0 4px}" +
    ".u{position:absolute;width:1px;height:1px;overflow:hidden;clip-path:inset(50%);white-space:nowrap}.s{min-height:20px;padding:0 14px;font-size:12px;color:var(--s)}" +
    "form{display:flex;gap:8px;padding:10px 14px;border-top:1px solid var(--l)}textarea{flex:1;resize:none;height:44px;max-height:120px;padding:10px;border:1px solid var(--l);border-radius:8px;background:var(--b)}" +
    ".k{border:0;border-radius:8px;background:var(--a);color:#fff;padding:0 14px}.k:disabled{opacity:.5;cursor:default}" +
    "@media (max-width:480px){:host{bottom:10px;right:10px}:host([data-side=left]){left:10px}.p{width:calc(100vw - 20px);height:calc(100vh - 90px)}}@media (prefers-reduced-motion:no-preference){.l{scroll-behavior:smooth}}";

  function el(tag, attrs, text) {
    var e = document.createElement(tag);
    Object.keys(attrs || {}).forEach(function (k) { e.setAttribute(k, attrs[k]); });
    if (text !== undefined) e.textContent = text;
    return e;
  }

  function claims(token) {
    try {
      var raw = atob(token.split(".")[1].replace(/-/g, "+").replace(/_/g, "/"));
      return JSON.parse(new TextDecoder().decode(Uint8Array.from(raw, function (c) { return c.charCodeAt(0); }))) || {};
    } catch (e) { return {}; }
  }

  function newID() {
    var b = crypto.getRandomValues(new Uint8Array(16)), s = "";
    for (var i = 0; i < b.length; i++) s += (b[i] + 256).toString(16).slice(1);
    return s;
  }

  function Chat(o) {
    var label = Object.assign({}, LABELS, o.title ? { title: o.title } : {}, o.labels || {});
    var base = (o.base || "").replace(/\/+$/, "") + "/webhooks/web/" + encodeURIComponent(o.install);
    var token = o.token || "", cursor = 0, pending = [], shown = {}, open = false, stopped = false, unread = 0;
    var store = "", timer = 0, gap = ASK, asking = false, sending = false, wait = 0, sendTimer = 0, focused = null, started = false;
    /* era is another after each change of who is there, conversation names what is shown. */
    var era = 0, conversation = null;

    /* What is shown */
    var host = el("div", { "data-latchkey": "", "data-theme": /^(light|dark)$/.test(o.theme) ? o.theme : "auto", "data-side": o.side === "left" ? "left" : "right" });
    var root = host.attachShadow({ mode: "open" });
    try {
      var sheet = new CSSStyleSheet();
      sheet.replaceSync(CSS);
      root.adoptedStyleSheets = [sheet];
    } catch (e) { root.appendChild(el("style", {}, CSS)); }
    if (/^#[0-9a-f]{6}$/i.test(o.accent || "")) host.style.setProperty("--a", o.accent);
    var panel = el("section", { "class": "p", id: "p", role: "dialog", "aria-label": label.title, hidden: "" });
    var head = el("div", { "class": "h" }), shut = el("button", { "class": "x", type: "button", "aria-label": label.close }, "×");
    head.append(el("h2", {}, label.title), shut);
    var log = el("div", { "class": "l", role: "log", "aria-live": "polite", "aria-label": label.log, tabindex: "0" });
    var status = el("div", { "class": "s", role: "status" });
    var form = el("form"), input = el("textarea", { id: "i", rows: "1", maxlength: String(MAX_TEXT), autocomplete: "off" });
    var button = el("button", { "class": "k", type: "submit" }, label.send);
    form.append(el("label", { "class": "u", "for": "i" }, label.input), input, button);
    input.placeholder = o.placeholder || label.input;
    panel.append(head, log, status, form);
    var launch = el("button", { "class": "go", type: "button", "aria-label": label.open, "aria-expanded": "false", "aria-controls": "p" }, "💬");
    var badge = el("span", { "class": "n", hidden: "" });
    root.append(panel, launch, badge);
    greet();

    function greet() { if (o.greeting) bubble({ role: "assistant", text: o.greeting }); }
    function bubble(x) {
      var m = el("div", { "class": "m " + x.role });
      var who = { user: label.you, human: label.human, notice: label.notice }[x.role] || label.agent;
      m.append(el("div", { "class": x.role === "user" ? "u" : "w" }, x.name || who), el("p", {}, x.text));
      if (x.at) m.title = new Date(x.at).toLocaleString();
      x.note = el("div", { "class": "w" });
      m.append(x.note);
      return place(m, !x.at || x.pending);
    }
    /* What has arrived stands before what has not. */
    function place(m, last) {
      var before = last ? null : pending.map(function (x) { return x.node; }).find(function (n) { return n && n !== m && n.isConnected; });
      log.insertBefore(m, before || null);
      log.scrollTop = log.scrollHeight;
      return m;
    }

    function say(text) { if (status.textContent !== text) status.textContent = text; }

    /* Messages that are not known to have arrived, kept over reloads for this visitor only */
    function load() {
      try {
        var all = JSON.parse(localStorage.getItem(store) || "[]");
        return Array.isArray(all) ? all.filter(function (x) {
          return x && typeof x.id === "string" && typeof x.text === "string" && Date.now() - x.at < KEEP;
        }) : [];
      } catch (e) { return []; }
    }
    function keep(change) {
      pending = change(pending);
      if (!store) return;
      try {
        /* Another tab of the visitor may have added some. */
        var all = change(load());
        if (all.length) localStorage.setItem(store, JSON.stringify(all.map(function (x) { return { id: x.id, text: x.text, at: x.at, sent: !!x.sent }; })));
        else localStorage.removeItem(store);
      } catch (e) { /* kept in this page only */ }
    }
    function without(id) { return function (all) { return all.filter(function (x) { return x.id !== id; }); }; }
    /* What waits stays: it is said in whichever conversation is the visitor's. */
    function clear() {
      log.textContent = "";
      cursor = 0; shown = {}; unread = 0; started = false; conversation = null; gap = ASK;
      badge.hidden = true;
      greet();
      pending.forEach(function (x) { log.append(x.node); });
    }
    /* Nothing of who was there stays in the page, half a sentence neither. */
    function forget() {
      era++;
      if (!store) return;
      store = ""; pending = []; wait = 0; input.value = "";
      clearTimeout(sendTimer);
      say("");
      clear();
    }
    function known(next) {
      var of = "latchkey:" + o.install + ":" + (claims(next).sub || "");
      if (of === store) return;
      forget();
      var mine = pending;
      store = of;
      pending = [];
      load().concat(mine).forEach(function (x) {
        if (shown[x.id]) return;
        if (!x.node) {
          x = { id: x.id, text: x.text, at: x.at, sent: x.sent, role: "user", pending: true };
          x.node = bubble(x);
        }
        pending.push(x);
      });
      keep(function (all) {
        return all.concat(mine.filter(function (x) { return !all.some(function (y) { return y.id === x.id; }); }));
      });
    }

    /* Asking */
    function fresh(force) {
      var exp = claims(token).exp, at = era, out;
      if (!force && token && (!exp || exp * 1000 - Date.now() > 30000)) return Promise.resolve(token);
      var get = o.getToken;
      if (!get && o.tokenUrl) get = function () {
        return fetch(o.tokenUrl, { credentials: "same-origin", cache: "no-store", headers: { accept: "application/json" } }).then(function (r) {
          if (!r.ok) throw { status: r.status === 401 || r.status === 403 ? 401 : 503 };
          return r.json();
        }).then(function (b) { return b.token; });
      };
      if (!get) return token && !force ? Promise.resolve(token) : Promise.reject({ status: 401 });
      var late = new Promise(function (_, no) { out = setTimeout(no, TIMEOUT, { status: 503 }); });
      return Promise.race([Promise.resolve().then(get), late]).finally(function () { clearTimeout(out); }).then(function (t) {
        if (at !== era) throw { moved: true };
        if (typeof t !== "string" || !t) throw { status: 401 };
        return token = t;
      });
    }
    function call(method, path, body, whose, second) {
      var at = era;
      return fresh(second).then(function (t) {
        if (at !== era) throw { moved: true };
        known(t);
        at = era;
        /* What one person wrote is not said in the name of the next, */
        if (whose && whose !== store) throw { moved: true };
        var stop = new AbortController(), out = setTimeout(function () { stop.abort(); }, TIMEOUT);
        var headers = { authorization: "Bearer " + t };
        if (body) headers["content-type"] = "application/json";
        return fetch(base + path, { method: method, mode: "cors", credentials: "omit", cache: "no-store", headers: headers, body: body, signal: stop.signal }).then(function (r) {
          if (r.status === 401 && !second) return call(method, path, body, whose, true);
          if (!r.ok) throw { status: r.status, after: Number(r.headers.get("retry-after")) || 0 };
          return r.json();
        }).finally(function () { clearTimeout(out); });
      }).then(function (b) {
        if (at !== era) throw { moved: true };
        return b;
      }, function (e) { /* nor shown to them. */
        throw at !== era ? { moved: true } : e;
      });
    }
    function later(ms) {
      clearTimeout(timer);
      if (!stopped) timer = setTimeout(ask, ms);
    }
    function idle() { return !open || document.visibilityState === "hidden"; }
    function ask() {
      if (asking || stopped) return;
      asking = true;
      var from = cursor, mine = store;
      call("GET", "?after=" + from, undefined, mine).then(function (b) {
        asking = false;
        if (!take(b)) return later(0);
        var waits = pending.some(function (x) { return x.sent && Date.now() - x.at < 120000; });
        gap = b.typing || waits || b.items.length ? ASK : Math.min(gap * 1.5, ASK_MAX);
        if (b.more) later(0);
        else if (!idle() || waits) later(gap);
        else if (cursor && document.visibilityState !== "hidden") later(ASK_CLOSED);
        push();
      }, function (e) {
        asking = false;
        if (e && e.moved) return later(0);
        trouble(e);
        gap = Math.min(gap * 2, ASK_CLOSED);
        var no = e && (e.status === 401 || e.status === 403);
        /* Opening the chat, or coming back to it, asks again. */
        if (idle() && !pending.length && (no || !cursor || document.visibilityState === "hidden")) return;
        if (no) later(ASK_CLOSED);
        else later(Math.max(gap, (e && e.after || 0) * 1000));
      });
    }
    function take(b) {
      var of = b.conversation || "";
      if (conversation !== null && of !== conversation) { /* another agent's, which counts from 1 */
        clear();
        conversation = of;
        return false;
      }
      conversation = of;
      b.items.forEach(function (x) {
        cursor = Math.max(cursor, Number(x.id));
        var key = x.message_id || "#" + x.id;
        if (shown[key]) return;
        shown[key] = true;
        var was = pending.find(function (p) { return p.id === x.message_id; });
        if (x.message_id) keep(without(x.message_id));
        if (was && was.node) {
          was.note.textContent = "";
          place(was.node);
        } else bubble(x);
        if (!open && x.role !== "user" && started) unread++;
      });
      if (!b.more) started = true;
      badge.textContent = String(unread);
      badge.hidden = !unread;
      say(b.typing ? label.typing : "");
      return true;
    }
    function trouble(e) {
      var s = e && e.status;
      say(s === 401 ? label.signin : s === 403 ? label.refused : s && s !== 429 && s < 500 ? "" : label.offline);
    }

    /* Saying: one after another, each with the id that it keeps however often it is sent */
    function push() {
      if (sending || stopped) return;
      var x = pending.find(function (p) { return !p.sent && !p.failed; });
      if (!x) return;
      sending = true;
      note(x, label.sending);
      call("POST", "", JSON.stringify({ id: x.id, text: x.text }), store).then(function (b) {
        sending = false;
        wait = 0;
        if (b && b.queued === false) return fail(x, label.unbound);
        keep(function (all) { return all.map(function (p) { if (p.id === x.id) p.sent = true; return p; }); });
        note(x, "");
        gap = ASK;
        later(ASK / 2);
        push();
      }, function (e) {
        sending = false;
        if (e && e.moved) return push();
        trouble(e);
        if (e && (e.status === 400 || e.status === 413)) return fail(x, label.failed);
        note(x, label.waiting);
        wait = Math.min(wait ? wait * 2 : 1000, 30000);
        clearTimeout(sendTimer);
        sendTimer = setTimeout(push, Math.max(wait, (e && e.after || 0) * 1000));
      });
    }
    function note(x, text) { if (x.note) x.note.textContent = text; }
    function fail(x, why) {
      x.failed = true;
      note(x, why + " ");
      var again = el("button", { type: "button" }, label.again), drop = el("button", { type: "button" }, label.drop);
      again.addEventListener("click", function () { x.failed = false; push(); });
      drop.addEventListener("click", function () { keep(without(x.id)); x.node.remove(); input.focus(); });
      x.note.append(again, drop);
      push();
    }
    function submit() {
      var text = input.value.trim();
      if (!text) return;
      if (new TextEncoder().encode(text).length > 16384) return say(label.long);
      input.value = "";
      var x = { id: newID(), text: text, at: Date.now(), role: "user", pending: true };
      x.node = bubble(x);
      var row = { id: x.id, text: text, at: x.at };
      keep(function (all) { return all === pending ? all.concat(x) : all.concat(row); });
      push();
      if (!asking) ask();
    }

    function show(on) {
      if (open === on) return;
      open = on;
      panel.hidden = !on;
      launch.setAttribute("aria-expanded", String(on));
      launch.setAttribute("aria-label", on ? label.close : label.open);
      if (on) {
        focused = document.activeElement;
        unread = 0;
        badge.hidden = true;
        input.focus();
        log.scrollTop = log.scrollHeight;
        gap = ASK;
        ask();
      } else (focused && focused !== document.body && focused !== host && focused.focus ? focused : launch).focus();
    }
    launch.addEventListener("click", function () { show(!open); });
    shut.addEventListener("click", function () { show(false); });
    panel.addEventListener("keydown", function (e) { if (e.key === "Escape") { e.stopPropagation(); show(false); } });
    form.addEventListener("submit", function (e) { e.preventDefault(); submit(); });
    input.addEventListener("keydown", function (e) {
      if (e.key === "Enter" && !e.shiftKey && !e.isComposing) { e.preventDefault(); submit(); }
    });
    function awake() {
      if (document.visibilityState === "hidden" || !open && !cursor && !pending.length) return;
      gap = ASK; wait = 0;
      ask();
      push();
    }
    document.addEventListener("visibilitychange", awake);
    window.addEventListener("online", awake);
    (document.body || document.documentElement).appendChild(host);
    ask();
    if (o.open) show(true);
    return {
      open: function () { show(true); },
      close: function () { show(false); },
      /* After somebody else signed in, or nobody. */
      signedIn: function (next) {
        token = next || "";
        if (token) known(token);
        else forget();
        gap = ASK;
        ask();
      },
      stop: function () {
        stopped = true;
        clearTimeout(timer);
        clearTimeout(sendTimer);
        document.removeEventListener("visibilitychange", awake);
        window.removeEventListener("online", awake);
        host.remove();
      }
    };
  }

  var base = script && script.src ? new URL(".", script.src).href : location.origin;
  window.latchkey = {
    chat: function (o) {
      if (!o || !/^[A-Za-z0-9_-]{1,64}$/.test(o.install || "")) throw new Error("latchkey.chat: install is missing");
      return Chat(Object.assign({ base: base }, o));
    }
  };
  var d = script && script.dataset;
  if (d && d.install) {
    var begin = function () {
      window.latchkey.widget = window.latchkey.chat({
        install: d.install, token: d.token, tokenUrl: d.tokenUrl, title: d.title, greeting: d.greeting, placeholder: d.placeholder,
        theme: d.theme, side: d.side, accent: d.accent, open: d.open !== undefined, base: d.base || base
      });
    };
    if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", begin);
    else begin();
  }
})();
