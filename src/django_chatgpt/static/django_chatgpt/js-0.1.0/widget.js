// The widget: the same chat in a corner of any page, out of reach of the page's own styles.

import { Chat } from "./chat.js";
import { part } from "./words.js";

// What is open stays open from page to page, in this tab.
const kept = {
  get(name) {
    try {
      return sessionStorage.getItem(`dc-widget-${name}`);
    } catch {
      return null;
    }
  },
  set(name, value) {
    try {
      if (value === null) sessionStorage.removeItem(`dc-widget-${name}`);
      else sessionStorage.setItem(`dc-widget-${name}`, value);
    } catch {
      // It works without a memory, too.
    }
  },
};

const ORDINARY = 16; // pixels of a rem
const SMALL = 14;

class Widget extends HTMLElement {
  connectedCallback() {
    if (this.chat || !this.shadowRoot) return;
    const root = this.shadowRoot.querySelector('[data-dc="widget"]');
    this.panel = part(root, "panel");
    this.launch = part(root, "launch");
    this.chat = new Chat(root, root);
    this.isLoaded = false;
    this.launch.addEventListener("click", () => this.show(this.panel.hidden));
    part(root, "close").addEventListener("click", () => this.show(false));
    part(root, "new").addEventListener("click", () => this.begin(null));
    this.chat.addEventListener("begun", ({ detail }) => this.at(detail));
    this.chat.addEventListener("elsewhere", ({ detail }) => this.begin(detail));
    this.panel.addEventListener("keydown", (event) => {
      if (event.key === "Escape" && !event.defaultPrevented) this.show(false);
    });
    // Sites that have made the rem small, to count in tens, would have a widget for ants.
    const rem = parseFloat(getComputedStyle(document.documentElement).fontSize);
    if (rem < SMALL) root.style.zoom = ORDINARY / rem;
    root.hidden = false;
    if (kept.get("open") === "1" || this.hasAttribute("open")) this.show(true, { focus: false });
  }

  at(conversation) {
    kept.set("conversation", conversation);
    const { site } = this.chat;
    part(this.panel, "whole").href =
      conversation === null ? site.place("page") : site.place("talk", conversation);
  }

  async begin(conversation) {
    this.at(conversation);
    const opening = this.chat.open(conversation);
    this.chat.composer.field.focus();
    await opening;
  }

  show(shown, { focus = true } = {}) {
    this.panel.hidden = !shown;
    this.launch.setAttribute("aria-expanded", String(shown));
    kept.set("open", shown ? "1" : "0");
    if (shown && !this.isLoaded) {
      this.isLoaded = true;
      const conversation = kept.get("conversation");
      this.at(conversation);
      this.chat.open(conversation).then(() => this.chat.resume());
    }
    this.chat.scroll.grown();
    if (!focus) return;
    if (shown) this.chat.composer.field.focus();
    else this.launch.focus();
  }
}

customElements.define("django-chatgpt", Widget);
