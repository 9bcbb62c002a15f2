// What was said, as it is shown: questions, and answers with their calls.

import { part, piece } from "./words.js";

// The server has sanitized it; where the site demands to be told so, it is.
const trusted = globalThis.trustedTypes?.createPolicy?.("django-chatgpt", { createHTML: (html) => html });

function elementsOf(html) {
  const template = document.createElement("template");
  template.innerHTML = trusted ? trusted.createHTML(html) : html;
  return template.content;
}

export function showJson(text) {
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
}

export async function copy(text, button, words) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    button.dispatchEvent(new CustomEvent("dc-say", { bubbles: true, detail: words("notCopied") }));
    return;
  }
  button.classList.add("dc-copied");
  button.dispatchEvent(new CustomEvent("dc-say", { bubbles: true, detail: words("copied") }));
  setTimeout(() => button.classList.remove("dc-copied"), 1500);
}

// A piece of an answer: blocks of which the server says from which on they are other ones.
export class Text {
  constructor(root, words) {
    this.root = root;
    this.words = words;
    this.element = document.createElement("div");
    this.element.className = "dc-text";
    this.blocks = [];
    this.raw = "";
  }

  replace(from, blocks) {
    for (const block of this.blocks.splice(from)) block.remove();
    for (const html of blocks) {
      const element = document.createElement("div");
      element.className = "dc-block";
      element.append(elementsOf(html));
      for (const code of element.querySelectorAll("pre")) this.dress(code);
      for (const table of element.querySelectorAll("div.table")) {
        table.setAttribute("role", "region");
        table.setAttribute("aria-label", this.words("table"));
      }
      this.element.append(element);
      this.blocks.push(element);
    }
  }

  plain(text) {
    const element = document.createElement("div");
    element.className = "dc-block dc-plain";
    element.dir = "auto";
    element.textContent = text;
    this.element.append(element);
    this.blocks.push(element);
  }

  dress(code) {
    const frame = document.createElement("div");
    frame.className = "dc-code";
    code.replaceWith(frame);
    const bar = piece(this.root, "code");
    const language = code.dataset.language ?? "";
    part(bar, "language").textContent = language;
    code.setAttribute("role", "region");
    code.setAttribute("aria-label", [this.words("code"), language].filter(Boolean).join(" "));
    part(bar, "copy").addEventListener("click", (event) => {
      copy(code.textContent, event.currentTarget, this.words);
    });
    frame.append(bar, code);
  }

  // What a screen reader is told of blocks that are complete.
  spoken(from, to) {
    return this.blocks.slice(from, to).map((block) => {
      const code = block.querySelector("pre");
      if (code) return this.words("codeLines", { lines: code.textContent.trimEnd().split("\n").length });
      return block.textContent.trim();
    });
  }
}

export class Call {
  constructor(root, words, { id, name, arguments: asked }) {
    this.words = words;
    this.id = id;
    this.name = name;
    this.asked = asked;
    this.element = piece(root, "call");
    part(this.element, "name").textContent = name;
    part(this.element, "arguments").textContent = showJson(asked);
    this.state("running");
  }

  state(state) {
    this.element.dataset.state = state;
    const name = `call${state[0].toUpperCase()}${state.slice(1)}`;
    part(this.element, "state").textContent = this.words(name);
  }

  end() {
    if (this.settled) return;
    part(this.element, "decision").hidden = true;
    this.state("ended");
  }

  get settled() {
    return ["completed", "failed", "denied", "ended"].includes(this.element.dataset.state);
  }

  settle(result, status) {
    part(this.element, "decision").hidden = true;
    part(this.element, "answered").hidden = false;
    part(this.element, "result").textContent = showJson(result);
    this.state(["completed", "denied"].includes(status) ? status : "failed");
  }

  // Asks the person; `decided` is called with true or false.
  wait(decided) {
    const box = part(this.element, "decision");
    this.state("waiting");
    box.hidden = false;
    box.setAttribute("aria-label", this.words("decision", { name: this.name }));
    part(box, "ask").textContent = this.words("mayCall", { name: this.name });
    const given = part(box, "given");
    given.replaceChildren();
    for (const [name, value] of this.pairs()) {
      const term = document.createElement("dt");
      const detail = document.createElement("dd");
      term.textContent = name;
      detail.textContent = value;
      detail.dir = "auto";
      given.append(term, detail);
    }
    const choose = (approved) => () => {
      for (const button of box.querySelectorAll("button")) button.disabled = true;
      this.isDenied = !approved;
      decided(approved);
    };
    for (const button of box.querySelectorAll("button")) button.disabled = false;
    part(box, "approve").onclick = choose(true);
    part(box, "deny").onclick = choose(false);
  }

  decided() {
    part(this.element, "decision").hidden = true;
    this.state(this.isDenied ? "denied" : "running");
  }

  pairs() {
    try {
      return Object.entries(JSON.parse(this.asked)).map(([name, value]) => [
        name, typeof value === "string" ? value : JSON.stringify(value),
      ]);
    } catch {
      return [["", this.asked]];
    }
  }
}
