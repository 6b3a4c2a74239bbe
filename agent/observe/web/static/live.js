"use strict";
// Keeps the page as it is on the server: asks for it again and changes what differs, so that focus, scrolling, what is
// typed and what is unfolded stay. Without this script the page reloads itself.
(() => {
  const EVERY = 2000, PATIENCE = 10000;
  let former = "", answered = new Date(), asking = false;

  const named = (node) => node.nodeType === Node.ELEMENT_NODE && node.id;

  // Makes `old` like `fresh`. Elements with an id are matched by it, others by their place.
  function match(old, fresh) {
    if (old.isEqualNode(fresh)) return;
    if (old.nodeType !== Node.ELEMENT_NODE) {
      old.nodeValue = fresh.nodeValue;
      return;
    }
    for (const { name } of [...old.attributes]) {
      if (!fresh.hasAttribute(name) && !(old.tagName === "DETAILS" && name === "open")) old.removeAttribute(name);
    }
    for (const { name, value } of fresh.attributes) {
      if (old.getAttribute(name) !== value) old.setAttribute(name, value);
    }
    children(old, fresh);
  }

  function children(old, fresh) {
    const known = new Map();
    for (const node of old.childNodes) if (named(node)) known.set(node.id, node);
    let next = old.firstChild;
    for (const wanted of [...fresh.childNodes]) {
      const same = named(wanted) && known.get(wanted.id);
      if (same) {
        known.delete(wanted.id);
        // What stands before it and is not wanted any more goes first, so that what stays need not move.
        while (next && next !== same && !(named(next) && fresh.querySelector("#" + CSS.escape(next.id)))) {
          const gone = next;
          next = next.nextSibling;
          gone.remove();
        }
        if (same === next) next = next.nextSibling;
        else old.insertBefore(same, next);
        match(same, wanted);
      } else if (next && !named(next) && !named(wanted) && next.nodeName === wanted.nodeName) {
        const here = next;
        next = next.nextSibling;
        match(here, wanted);
      } else {
        old.insertBefore(document.importNode(wanted, true), next);
      }
    }
    while (next) {
      const gone = next;
      next = next.nextSibling;
      gone.remove();
    }
  }

  function show(text) {
    const fresh = new DOMParser().parseFromString(text, "text/html");
    const before = document.getElementById("headline"), after = fresh.getElementById("headline");
    const news = before && after && before.dataset.kind !== after.dataset.kind;
    document.title = fresh.title;
    children(document.getElementById("main"), fresh.getElementById("main"));
    if (news) document.getElementById("announce").textContent = after.querySelector("h1").textContent;
  }

  function silence(is) {
    const note = document.getElementById("silence");
    note.querySelector("time").textContent = answered.toLocaleTimeString();
    note.hidden = !is;
    document.body.classList.toggle("stale", is);
  }

  async function ask() {
    if (asking || document.hidden) return;
    asking = true;
    try {
      const answer = await fetch(location.href, { cache: "no-store", signal: AbortSignal.timeout(PATIENCE) });
      if (!answer.ok && answer.status !== 404) throw new Error(answer.statusText);
      const text = await answer.text();
      answered = new Date();
      silence(false);
      if (answer.ok && text !== former) show(text);
      former = text;
    } catch {
      silence(true); // said on the page; the next look may succeed
    } finally {
      asking = false;
    }
  }

  setInterval(ask, EVERY);
  document.addEventListener("visibilitychange", ask);
})();
