// The chat page: the conversation, the list of them, and the address that names one.

import { Chat } from "./chat.js";
import { List } from "./list.js";
import { part, wordsOf } from "./words.js";

const root = document.querySelector('[data-dc="page"]');
const words = wordsOf(root);
const chat = new Chat(root, root);
const title = part(root, "title");
const side = part(root, "side");
const menu = part(root, "menu");
const backdrop = part(root, "backdrop");
const narrow = matchMedia("(max-width: 52rem)");

const list = new List(root, chat.site, {
  opened: (id) => go(id),
  gone: (id) => id === chat.conversation && go(null),
  renamed: (id, name) => id === chat.conversation && named(name),
  failed: (error, again) => chat.fail(error, again),
  say: (text) => chat.announcer.say(text),
});

function named(name) {
  title.textContent = name || words("new");
  document.title = name ? `${name} · ${words("page")}` : words("page");
}

function drawer(open) {
  const shown = open && narrow.matches;
  root.classList.toggle("dc-with-side", shown);
  menu.setAttribute("aria-expanded", String(shown));
  backdrop.hidden = !shown;
  part(root, "main").inert = shown;
  side.inert = narrow.matches && !shown;
  if (shown) part(root, "close").focus();
}

async function go(id, { push = true } = {}) {
  const wasOpen = root.classList.contains("dc-with-side");
  drawer(false);
  if (push) {
    const place = id === null ? chat.site.place("page") : chat.site.place("talk", id);
    if (location.pathname !== place) history.pushState({}, "", place);
  }
  list.select(id);
  if (id === null) named("");
  const opening = chat.open(id);
  if (id === null || !matchMedia("(pointer: coarse)").matches) chat.composer.field.focus();
  else if (wasOpen) title.focus();
  await opening;
}

function here() {
  const [, id] = location.pathname.match(/\/c\/([0-9a-f-]{36})\/$/) ?? [];
  return id ?? null;
}

chat.addEventListener("opened", ({ detail }) => named(detail.title));
chat.addEventListener("begun", ({ detail: id }) => {
  history.pushState({}, "", chat.site.place("talk", id));
  list.select(id);
  list.load().then(() => {
    const link = list.list.querySelector('[aria-current="page"]');
    if (link) named(link.textContent);
  });
});
chat.addEventListener("elsewhere", ({ detail: id }) => go(id));
chat.addEventListener("ended", () => list.load());
addEventListener("popstate", () => go(here(), { push: false }));
menu.addEventListener("click", () => drawer(true));
backdrop.addEventListener("click", () => drawer(false));
part(root, "close").addEventListener("click", () => {
  drawer(false);
  menu.focus();
});
part(root, "new").addEventListener("click", () => go(null));
narrow.addEventListener("change", () => drawer(false));
root.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && root.classList.contains("dc-with-side")) {
    drawer(false);
    menu.focus();
  }
});
addEventListener("keydown", (event) => {
  if (!event.altKey || event.ctrlKey || event.metaKey) return;
  if (event.code === "KeyN") {
    event.preventDefault();
    go(null);
  } else if (event.code === "KeyS") {
    event.preventDefault();
    drawer(true);
    list.search.focus();
  }
});

drawer(false);
list.load();
go(root.dataset.conversation || null, { push: false }).then(() => chat.resume());
