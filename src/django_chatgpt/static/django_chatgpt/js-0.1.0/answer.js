// One question or one answer in the conversation.

import { Call, copy, Text } from "./line.js";
import { part, piece } from "./words.js";

export class Question {
  constructor(root, words, text, edit) {
    this.text = text;
    this.element = piece(root, "user");
    part(this.element, "said").textContent = text;
    part(this.element, "copy").addEventListener("click", (event) => copy(text, event.currentTarget, words));
    part(this.element, "edit").addEventListener("click", () => edit(text));
  }
}

export class Answer {
  constructor(root, words, { language, costs, retry }) {
    this.root = root;
    this.words = words;
    this.costs = costs;
    this.numbers = new Intl.NumberFormat(language);
    this.money = new Intl.NumberFormat(language, {
      style: "currency", currency: "USD", minimumFractionDigits: 0, maximumFractionDigits: 6,
    });
    this.element = piece(root, "answer");
    this.parts = part(this.element, "parts");
    this.calls = new Map();
    this.text = null;
    this.texts = [];
    part(this.element, "copy").addEventListener("click", (event) => {
      copy(this.raw, event.currentTarget, words);
    });
    part(this.element, "retry").addEventListener("click", () => retry());
  }

  get raw() {
    return this.texts.map((text) => text.raw).filter(Boolean).join("\n\n");
  }

  set busy(busy) {
    this.element.toggleAttribute("aria-busy", busy);
    if (busy) this.element.setAttribute("aria-busy", "true");
    this.think();
  }

  get busy() {
    return this.element.hasAttribute("aria-busy");
  }

  // Dots where nothing else shows that something is going on.
  think() {
    const calls = [...this.calls.values()].some((call) => !call.settled);
    const spoken = this.parts.lastElementChild === this.text?.element && this.text?.blocks.length;
    part(this.element, "thinking").hidden = !this.busy || Boolean(calls || spoken);
  }

  // Everything anew: the events come from the first.
  clear() {
    this.parts.replaceChildren();
    this.calls.clear();
    this.text = null;
    this.texts = [];
    this.problem(null);
  }

  current() {
    if (!this.text) {
      this.text = new Text(this.root, this.words);
      this.texts.push(this.text);
      this.parts.append(this.text.element);
    }
    return this.text;
  }

  say(raw, html) {
    if (!raw && !html) return;
    const text = this.current();
    text.raw += raw;
    if (html) text.replace(html.from, html.blocks);
    this.think();
  }

  // A message that is stored: its blocks in one.
  tell(raw, html) {
    if (!raw) return;
    this.text = null;
    this.say(raw, html);
  }

  call(called) {
    this.text = null;
    let call = this.calls.get(called.id);
    if (!call) {
      call = new Call(this.root, this.words, called);
      this.calls.set(called.id, call);
      this.parts.append(call.element);
    }
    this.think();
    return call;
  }

  settle({ id, result, status, code }) {
    this.calls.get(id)?.settle(result, code === "approval_denied" ? "denied" : status);
    this.text = null;
    this.think();
  }

  // How it ended, where that needs words; the calls that nobody answers any more.
  end() {
    for (const call of this.calls.values()) call.end();
    this.busy = false;
    part(this.element, "foot").hidden = false;
    part(this.element, "copy").hidden = !this.raw;
  }

  took(tokens, cost) {
    const parts = [];
    if (tokens) parts.push(this.words("tokens", { count: this.numbers.format(tokens) }));
    if (this.costs && tokens) {
      parts.push(cost === null ? this.words("costUnknown") : this.money.format(Number(cost)));
    }
    part(this.element, "took").textContent = parts.join(" · ");
  }

  problem(text, actions = []) {
    const box = part(this.element, "problem");
    box.replaceChildren();
    box.classList.remove("dc-note");
    box.hidden = text === null;
    part(this.element, "retry").hidden = actions.length > 0;
    if (text === null) return null;
    const line = document.createElement("p");
    line.textContent = text;
    box.append(line, ...actions);
    return line;
  }

  note(text) {
    const line = this.problem(text);
    part(this.element, "problem").classList.add("dc-note");
    return line;
  }

  sources(sources) {
    const box = part(this.element, "sources");
    const list = box.querySelector("ol");
    list.replaceChildren();
    box.hidden = !sources?.length;
    for (const source of sources ?? []) {
      const item = document.createElement("li");
      const what = document.createElement(source.url ? "a" : "span");
      if (source.url) {
        what.href = source.url;
        what.target = "_blank";
        what.rel = "noopener";
      }
      what.dir = "auto";
      what.textContent = source.title;
      if (source.number !== null) item.value = source.number;
      item.append(what);
      list.append(item);
    }
  }
}
