// The field that a question is written in: keys, size, draft.

import { part } from "./words.js";

const HOUR = 3600;

// Kept while the tab lives, for whoever is logged in.
function store(action) {
  try {
    return action(sessionStorage);
  } catch {
    return null;
  }
}

// What somebody else has left in this tab goes: who logs in after them does not find it, nor ask it.
export function keepFor(reader) {
  store((kept) => {
    if (kept.getItem("dc-reader") === reader) return;
    for (const key of Object.keys(kept)) if (key.startsWith("dc-")) kept.removeItem(key);
    kept.setItem("dc-reader", reader);
  });
}

export class Composer {
  constructor(root, { ask, stop }) {
    this.form = part(root, "ask");
    this.field = part(root, "question");
    this.send = part(root, "send");
    this.stop = part(root, "stop");
    this.editing = part(root, "editing");
    this.key = "dc-draft-";
    this.running = false;
    this.ready = false;
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      const text = this.field.value.trim();
      if (!text || this.running || !this.ready) return;
      this.edit(null);
      this.text = "";
      ask(text);
    });
    this.stop.addEventListener("click", () => {
      stop();
      this.field.focus();
    });
    this.field.addEventListener("input", () => this.changed());
    this.field.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
        event.preventDefault();
        this.form.requestSubmit();
      }
    });
    part(root, "unedit").addEventListener("click", () => {
      this.edit(null);
      this.text = this.before ?? "";
      this.field.focus();
    });
  }

  get text() {
    return this.field.value;
  }

  set text(text) {
    this.field.value = text;
    this.changed();
  }

  changed() {
    const text = this.field.value;
    store((kept) => (text ? kept.setItem(this.key, text) : kept.removeItem(this.key)));
    this.send.disabled = !this.ready || !text.trim();
    this.size();
  }

  // For browsers whose fields do not grow by themselves.
  size() {
    if (CSS.supports("field-sizing", "content")) return;
    this.field.style.height = "auto";
    this.field.style.height = `${this.field.scrollHeight + 2}px`;
  }

  // The draft of this conversation, "" for a new one.
  open(conversation) {
    this.key = `dc-draft-${conversation ?? ""}`;
    this.edit(null);
    this.field.value = store((kept) => kept.getItem(this.key)) ?? "";
    this.changed();
  }

  moved(conversation) {
    store((kept) => kept.removeItem(this.key));
    this.key = `dc-draft-${conversation}`;
    this.changed();
  }

  start() {
    this.ready = true;
    this.changed();
  }

  set busy(busy) {
    const focused = this.stop.contains(this.stop.getRootNode().activeElement);
    this.running = busy;
    this.send.hidden = busy;
    this.stop.hidden = !busy;
    this.stop.disabled = false;
    if (focused) this.field.focus();
  }

  // A question to be asked in other words; null: not any more.
  edit(text) {
    this.editing.hidden = text === null;
    if (text === null) return;
    this.before = this.field.value;
    this.text = text;
    this.field.focus();
    this.field.setSelectionRange(text.length, text.length);
  }
}

// A question that is on its way, so that a reload does not ask it twice nor lose it.
export const onItsWay = {
  keep(question) {
    store((kept) => kept.setItem("dc-asking", JSON.stringify(question)));
  },
  drop() {
    store((kept) => kept.removeItem("dc-asking"));
  },
  get() {
    try {
      return JSON.parse(store((kept) => kept.getItem("dc-asking")));
    } catch {
      return null;
    }
  },
};

// How long to wait, in words.
export function inWords(seconds, language, words) {
  if (seconds <= 0) return words("waitOver");
  if (seconds >= HOUR) {
    const when = new Date(Date.now() + seconds * 1000);
    const time = new Intl.DateTimeFormat(language, { dateStyle: "medium", timeStyle: "short" }).format(when);
    return words("waitUntil", { time });
  }
  const minutes = Math.floor(seconds / 60);
  const rest = String(Math.ceil(seconds % 60)).padStart(2, "0");
  return words("wait", { time: `${minutes}:${rest}` });
}
