"use strict";
(() => {
  const tip = document.getElementById("tip");

  function showTip(text, x, y) {
    tip.textContent = text;
    tip.hidden = false;
    const box = tip.getBoundingClientRect();
    const left = Math.min(Math.max(8, x - box.width / 2), innerWidth - box.width - 8);
    const top = y - box.height - 12 >= 8 ? y - box.height - 12 : y + 22;
    tip.style.left = `${left}px`;
    tip.style.top = `${top}px`;
  }

  function hideTip() {
    tip.hidden = true;
    if (globalThis.CSS && CSS.highlights) CSS.highlights.delete("token");
  }

  // --- the chart: lines shown and hidden, values under the pointer

  for (const figure of document.querySelectorAll("[data-chart]")) {
    const svg = figure.querySelector(".plot svg");
    const cursor = svg.querySelector(".cursor");
    const buttons = [...figure.querySelectorAll(".legend li button")];
    const at = figure.querySelector("[data-at]");
    const finals = buttons.map((button) => button.querySelector(".value").textContent);
    const curves = [...svg.querySelectorAll(".curve")];
    const parts = (index) => svg.querySelectorAll(`[data-line="${index}"]`);
    const hidden = (index) => buttons[index].getAttribute("aria-pressed") === "false";

    function show(index, shown) {
      buttons[index].setAttribute("aria-pressed", String(shown));
      for (const part of parts(index)) part.classList.toggle("off", !shown);
    }

    function focus(index) {
      const active = index !== null && !hidden(index);
      svg.classList.toggle("focus", active);
      for (const part of figure.querySelectorAll(".hot")) part.classList.remove("hot");
      if (!active) return;
      buttons[index].classList.add("hot");
      for (const part of parts(index)) part.classList.add("hot");
    }

    function readAt(n) {
      if (!at) return;
      at.textContent = n ?? at.dataset.at;
      buttons.forEach((button, index) => {
        const dot = curves.find((curve) => curve.dataset.line === String(index)).querySelector(`[data-n="${n}"]`);
        button.querySelector(".value").textContent = n === null ? finals[index] : dot ? dot.dataset.v : "–";
      });
    }

    function leave() {
      focus(null);
      readAt(null);
      cursor.setAttribute("hidden", "");
      hideTip();
    }

    buttons.forEach((button, index) => {
      button.addEventListener("click", () => { show(index, hidden(index)); focus(hidden(index) ? null : index); });
      button.addEventListener("pointerenter", () => focus(index));
      button.addEventListener("focus", () => focus(index));
      button.addEventListener("pointerleave", () => focus(null));
      button.addEventListener("blur", () => focus(null));
    });
    for (const button of figure.querySelectorAll("[data-all]")) {
      button.addEventListener("click", () => buttons.forEach((_, index) => show(index, button.dataset.all === "true")));
    }
    const bands = figure.querySelector("[data-bands]");
    if (bands) bands.addEventListener("click", () => {
      bands.setAttribute("aria-pressed", String(svg.classList.toggle("all-bands")));
    });
    svg.addEventListener("pointermove", (event) => {
      let nearest = null;
      let least = 60 * 60;
      for (const dot of svg.querySelectorAll(".curve:not(.off) circle")) {
        const box = dot.getBoundingClientRect();
        const dx = box.x + box.width / 2 - event.clientX;
        const dy = box.y + box.height / 2 - event.clientY;
        if (dx * dx + dy * dy < least) { least = dx * dx + dy * dy; nearest = { dot, box }; }
      }
      if (!nearest) return leave();
      const { dot, box } = nearest;
      const curve = dot.parentNode;
      focus(Number(curve.dataset.line));
      readAt(dot.dataset.n);
      cursor.removeAttribute("hidden");
      for (const end of ["x1", "x2"]) cursor.setAttribute(end, dot.getAttribute("cx"));
      showTip(`${curve.dataset.name}\n${dot.dataset.tip}`, box.x + box.width / 2, box.y);
    });
    svg.addEventListener("pointerleave", leave);
  }

  // --- tokens: ten characters each in data-t, two base-64 digits for length, logp, entropy, self-certainty, p1

  const DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz-_";
  const UNKNOWN = 4095;
  const unpacked = new WeakMap();
  const current = new WeakMap();

  function tokensOf(block) {
    if (!unpacked.has(block)) {
      const packed = block.dataset.t;
      const tokens = [];
      let start = 0;
      for (let at = 0; at < packed.length; at += 10) {
        const codes = [0, 2, 4, 6, 8].map((k) => 64 * DIGITS.indexOf(packed[at + k]) + DIGITS.indexOf(packed[at + k + 1]));
        tokens.push({ start, end: start + codes[0], codes: codes.slice(1) });
        start += codes[0];
      }
      unpacked.set(block, tokens);
    }
    return unpacked.get(block);
  }

  function rangeOf(block, token) {
    const walker = document.createTreeWalker(block, NodeFilter.SHOW_TEXT);
    const range = document.createRange();
    let passed = 0;
    let begun = false;
    for (let node = walker.nextNode(); node; node = walker.nextNode()) {
      if (!begun && token.start < passed + node.length) { range.setStart(node, token.start - passed); begun = true; }
      if (begun && token.end <= passed + node.length) { range.setEnd(node, token.end - passed); return range; }
      passed += node.length;
    }
    return null;
  }

  function describe(token) {
    const [logp, entropy, certainty, p1] = token.codes;
    const say = (code, text) => (code === UNKNOWN ? "–" : text(code));
    return [
      `log-probability ${say(logp, (c) => (c ? "−" : "") + (c * 0.005).toFixed(2))}`,
      `entropy ${say(entropy, (c) => (c * 0.005).toFixed(2))}`,
      `self-certainty ${say(certainty, (c) => (c * 0.01).toFixed(2))}`,
      `largest probability ${say(p1, (c) => (c / 40).toFixed(1) + " %")}`,
    ].join("\n");
  }

  function present(block, token) {
    const range = rangeOf(block, token);
    if (!range) return;
    const boxes = range.getClientRects();
    const box = boxes[0] || range.getBoundingClientRect();
    showTip(describe(token), box.x + box.width / 2, box.y);
    if (globalThis.CSS && CSS.highlights) CSS.highlights.set("token", new Highlight(range));
  }

  function offsetAt(block, x, y) {
    let node = null;
    let offset = 0;
    if (document.caretPositionFromPoint) {
      const caret = document.caretPositionFromPoint(x, y);
      if (caret) { node = caret.offsetNode; offset = caret.offset; }
    } else if (document.caretRangeFromPoint) {
      const caret = document.caretRangeFromPoint(x, y);
      if (caret) { node = caret.startContainer; offset = caret.startOffset; }
    }
    if (!node || node.nodeType !== Node.TEXT_NODE || !block.contains(node)) return null;
    const walker = document.createTreeWalker(block, NodeFilter.SHOW_TEXT);
    let passed = 0;
    for (let other = walker.nextNode(); other && other !== node; other = walker.nextNode()) passed += other.length;
    return passed + offset;
  }

  function tokenAt(block, x, y) {
    const offset = offsetAt(block, x, y);
    if (offset === null) return null;
    const tokens = tokensOf(block);
    for (const place of [offset, offset - 1]) { // a caret rounds to the nearer side of a character
      const index = tokens.findIndex((token) => token.start <= place && place < token.end);
      const range = index >= 0 ? rangeOf(block, tokens[index]) : null;
      const inside = (box) => box.left <= x && x <= box.right && box.top <= y && y <= box.bottom;
      if (range && [...range.getClientRects()].some(inside)) return index;
    }
    return null;
  }

  document.addEventListener("pointermove", (event) => {
    const block = event.target.closest ? event.target.closest(".tokens") : null;
    if (!block) {
      if (!(event.target.closest && event.target.closest(".plot"))) hideTip();
      return;
    }
    const index = tokenAt(block, event.clientX, event.clientY);
    if (index === null) return hideTip();
    current.set(block, index);
    present(block, tokensOf(block)[index]);
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape") return hideTip();
    const block = event.target.closest ? event.target.closest(".tokens") : null;
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!block || !step) return;
    const tokens = tokensOf(block);
    const index = Math.min(tokens.length - 1, Math.max(0, (current.get(block) ?? -1) + step));
    current.set(block, index);
    present(block, tokens[index]);
    event.preventDefault();
  });
  addEventListener("scroll", hideTip, { passive: true });

  // --- cards of one kind

  const filters = [...document.querySelectorAll("[data-only]")];
  for (const button of filters) {
    button.addEventListener("click", () => {
      const kind = button.dataset.only;
      for (const other of filters) other.setAttribute("aria-pressed", String(other === button));
      for (const card of document.querySelectorAll("[data-kinds]")) {
        card.hidden = kind !== "" && !card.dataset.kinds.split(" ").includes(kind);
      }
    });
  }

  // --- unfold all candidates

  for (const button of document.querySelectorAll("[data-unfold]")) {
    button.addEventListener("click", () => {
      const open = button.getAttribute("aria-expanded") === "false";
      for (const candidate of document.querySelectorAll(".candidate")) candidate.open = open || candidate.classList.contains("chosen");
      button.setAttribute("aria-expanded", String(open));
      button.textContent = open ? "Fold all" : "Unfold all";
    });
  }
})();
