// The list of conversations: searched, paged, renamed, deleted.

import { Lost } from "./site.js";
import { part, piece, wordsOf } from "./words.js";

const PAGE_SIZE = 30;
const PATIENCE = 200;

export class List {
  constructor(root, site, { opened, gone, renamed, failed, say }) {
    this.root = root;
    this.site = site;
    this.words = wordsOf(root);
    this.on = { opened, gone, renamed, failed, say };
    this.list = part(root, "list");
    this.none = part(root, "none");
    this.more = part(root, "more");
    this.search = part(root, "search");
    this.current = null;
    this.page = 0;
    this.rows = new Map();
    this.loading = null;
    let timer = null;
    this.search.addEventListener("input", () => {
      clearTimeout(timer);
      timer = setTimeout(() => this.load(), PATIENCE);
    });
    this.more.addEventListener("click", () => this.load(this.page + 1));
    new IntersectionObserver(([seen]) => {
      if (seen.isIntersecting && !this.more.hidden && !this.loading) this.load(this.page + 1);
    }).observe(this.more);
  }

  async load(page = 1) {
    this.loading?.abort();
    const loading = new AbortController();
    this.loading = loading;
    const asked = new URLSearchParams({ page, page_size: PAGE_SIZE });
    const search = this.search.value.trim();
    if (search) asked.set("search", search);
    try {
      const place = `${this.site.place("conversations")}?${asked}`;
      const { conversations, pagination } = await this.site.get(place, loading.signal);
      if (page === 1) this.clear();
      this.page = page;
      for (const conversation of conversations) this.add(conversation);
      this.more.hidden = !pagination.has_next;
      this.none.hidden = this.rows.size > 0;
      this.none.textContent = this.words(search ? "noneFound" : "none");
      if (search && page === 1) this.on.say(this.rows.size ? String(pagination.total_count) : this.words("noneFound"));
    } catch (error) {
      if (error.name !== "AbortError") this.on.failed(error, () => this.load(page));
    } finally {
      if (this.loading === loading) this.loading = null;
    }
  }

  clear() {
    const focused = this.list.contains(document.activeElement) ? document.activeElement.dataset.id : null;
    this.list.replaceChildren();
    this.rows.clear();
    this.day = null;
    this.focused = focused;
  }

  add(conversation) {
    if (this.rows.has(conversation.id)) return;
    const day = this.dayOf(new Date(conversation.updated_at));
    if (day !== this.day) {
      const head = document.createElement("li");
      head.className = "dc-day";
      head.textContent = this.words(day);
      this.list.append(head);
      this.day = day;
    }
    const row = piece(this.root, "row");
    const title = conversation.title || this.words("untitled");
    const link = part(row, "link");
    link.textContent = title;
    link.href = this.site.place("talk", conversation.id);
    link.dataset.id = conversation.id;
    link.addEventListener("click", (event) => {
      if (event.metaKey || event.ctrlKey || event.shiftKey || event.button) return;
      event.preventDefault();
      this.on.opened(conversation.id);
    });
    for (const name of ["rename", "delete"]) {
      const button = part(row, name);
      button.setAttribute("aria-label", this.words(name, { title }));
      button.addEventListener("click", () => this[name](conversation));
    }
    this.rows.set(conversation.id, row);
    this.list.append(row);
    this.mark(conversation.id, row);
    if (this.focused === conversation.id) link.focus();
  }

  dayOf(date) {
    const today = new Date();
    today.setHours(0, 0, 0, 0);
    if (date >= today) return "today";
    today.setDate(today.getDate() - 1);
    return date >= today ? "yesterday" : "earlier";
  }

  select(id) {
    this.current = id;
    for (const [each, row] of this.rows) this.mark(each, row);
  }

  mark(id, row) {
    const link = part(row, "link");
    if (id === this.current) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }

  async rename(conversation) {
    const dialog = this.root.querySelector("dialog[data-part=rename]");
    const field = dialog.querySelector("input");
    field.value = conversation.title;
    if (!(await this.ask(dialog, field))) return;
    const title = field.value.trim();
    if (!title || title === conversation.title) return;
    await this.change("PATCH", conversation, { title }, () => {
      this.on.renamed(conversation.id, title);
      return this.load();
    });
  }

  async delete(conversation) {
    const dialog = this.root.querySelector("dialog[data-part=delete]");
    part(dialog, "what").textContent = conversation.title || this.words("untitled");
    if (!(await this.ask(dialog, part(dialog, "no")))) return;
    await this.change("DELETE", conversation, undefined, () => {
      this.on.say(this.words("deleted"));
      this.on.gone(conversation.id);
      return this.load();
    });
  }

  async change(method, conversation, body, done) {
    try {
      await this.site.send(method, this.site.place("conversation", conversation.id), { body });
      await done();
    } catch (error) {
      const again = () => this.change(method, conversation, body, done);
      this.on.failed(error, error instanceof Lost ? again : null);
    }
  }

  // Whether the person has said yes.
  ask(dialog, first) {
    return new Promise((resolve) => {
      part(dialog, "no").onclick = () => dialog.close("no");
      dialog.returnValue = "no";
      dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"), { once: true });
      dialog.showModal();
      first.focus();
      first.select?.();
    });
  }
}
