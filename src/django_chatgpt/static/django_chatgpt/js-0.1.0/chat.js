// One conversation: asks, shows the answer while it is written, takes it up again, stops it.

import { Answer, Question } from "./answer.js";
import { Composer, keepFor, onItsWay } from "./composer.js";
import { Run } from "./run.js";
import { Announcer, Scroll } from "./scroll.js";
import { Lost, Refusal, Site } from "./site.js";
import { button, explain } from "./trouble.js";
import { part, wordsOf } from "./words.js";

const ACTIVE = new Set(["queued", "running", "awaiting_approval"]);

export class Chat extends EventTarget {
  constructor(root, shell) {
    super();
    keepFor(shell.dataset.reader);
    this.root = root;
    this.words = wordsOf(root);
    this.language = shell.dataset.language;
    this.costs = "costs" in shell.dataset;
    this.site = new Site(shell, part(root, "ask").elements.csrfmiddlewaretoken.value);
    this.lines = part(root, "lines");
    this.welcome = part(root, "welcome");
    this.notice = part(root, "notice");
    this.scroll = new Scroll(part(root, "talk"), part(root, "down"));
    this.announcer = new Announcer(part(root, "status"));
    this.composer = new Composer(root, { ask: (text) => this.ask(text), stop: () => this.stop() });
    this.conversation = null;
    this.run = null;
    this.opening = null;
    root.addEventListener("dc-say", (event) => this.announcer.say(event.detail));
    root.addEventListener("keydown", (event) => {
      if (event.key === "Escape" && this.run && !event.defaultPrevented) {
        event.preventDefault();
        event.stopPropagation();
        this.stop();
      }
    });
  }

  // Shows a conversation, or the beginning of a new one.
  async open(id = null) {
    this.leave();
    this.conversation = id;
    this.lines.replaceChildren();
    this.tell(null);
    this.composer.open(id);
    this.welcome.hidden = id !== null;
    this.composer.start();
    if (id === null) return;
    const opening = new AbortController();
    this.opening = opening;
    this.lines.setAttribute("aria-busy", "true");
    try {
      const place = `${this.site.place("conversation", id)}?render=html`;
      const conversation = await this.site.get(place, opening.signal);
      this.show(conversation);
      this.emit("opened", conversation);
    } catch (error) {
      if (error.name === "AbortError") return;
      this.fail(error, () => this.open(id));
    } finally {
      if (this.opening === opening) {
        this.opening = null;
        this.lines.removeAttribute("aria-busy");
      }
    }
  }

  // Looks away; the turn goes on without us.
  leave() {
    this.opening?.abort();
    if (this.run) onItsWay.drop();
    this.run?.leave();
    this.run = null;
    this.composer.busy = false;
  }

  show({ messages, turns }) {
    const byTurn = new Map(turns.map((turn) => [turn.id, turn]));
    let answer = null;
    let question = "";
    let active = null;
    let of = null;
    const settle = () => {
      const turn = byTurn.get(of);
      if (answer && !(turn && ACTIVE.has(turn.status))) this.stored(answer, turn, question);
      answer = null;
    };
    for (const message of messages) {
      const turn = byTurn.get(message.turn_id);
      if (message.role === "user") {
        settle();
        question = message.content;
        this.lines.append(this.question(question).element);
        of = message.turn_id;
        answer = this.answer(question);
        if (turn && ACTIVE.has(turn.status)) active = [turn, answer];
        if (message.status === "refused") answer.note(this.words("refused"));
        continue;
      }
      if (turn && ACTIVE.has(turn.status)) continue;
      if (!answer) answer = this.answer(question);
      of ??= message.turn_id;
      if (message.role === "assistant") {
        answer.tell(message.content, message.html);
        for (const { id, function: called } of message.tool_calls) answer.call({ id, ...called });
      } else if (message.role === "tool") {
        const id = message.tool_call_id;
        // What was stored without its call is taken for made.
        const status = turn?.calls.find((call) => call.call_id === id)?.status ?? "completed";
        answer.settle({ id, result: message.content, status });
      }
    }
    settle();
    this.welcome.hidden = messages.length > 0;
    this.scroll.toEnd();
    // A turn that is running is told from its first event.
    if (active) this.begin(active[1], { turnId: active[0].id });
  }

  stored(answer, turn, question) {
    answer.end();
    if (!turn) return;
    answer.took(turn.tokens, turn.cost);
    answer.sources(turn.sources);
    if (turn.status === "cancelled") answer.note(this.words("stopped"));
    if (turn.error) this.refused(answer, new Refusal(0, turn.error), question);
  }

  question(text) {
    return new Question(this.root, this.words, text, (said) => this.composer.edit(said));
  }

  answer(question) {
    const { language, costs } = this;
    const answer = new Answer(this.root, this.words, { language, costs, retry: () => this.ask(question) });
    answer.question = question;
    this.lines.append(answer.element);
    return answer;
  }

  // Asks; the same key makes a repeat of it the same turn.
  ask(text, key = crypto.randomUUID?.() ?? `${Date.now()}-${Math.random()}`) {
    if (this.run) return;
    const { conversation } = this;
    this.tell(null);
    this.welcome.hidden = true;
    const question = this.question(text);
    this.lines.append(question.element);
    const answer = this.answer(text);
    onItsWay.keep({ text, conversation, key });
    const body = { message: text, stream: true };
    if (conversation) body.conversation_id = conversation;
    this.begin(answer, {
      open: (signal) =>
        this.site.send("POST", `${this.site.place("chat")}?render=html`, {
          body, signal, headers: { "Idempotency-Key": key },
        }),
      forget: () => {
        onItsWay.drop();
        question.element.remove();
        answer.element.remove();
      },
    });
    this.scroll.toEnd();
  }

  // A question that was on its way when the page went: it is asked with its key, and so only once.
  resume() {
    const asked = onItsWay.get();
    if (!asked || asked.conversation !== this.conversation || this.run) return;
    if (!asked.begun) this.ask(asked.text, asked.key);
    else if (asked.begun !== this.conversation) this.emit("elsewhere", asked.begun);
  }

  begin(answer, options) {
    this.run = new Run(this, answer, options);
    this.composer.busy = true;
    const { run } = this;
    run.start().finally(() => this.settle(run));
  }

  settle(run) {
    if (this.run !== run || !run.over) return;
    onItsWay.drop();
    this.run = null;
    this.composer.busy = false;
  }

  begun(conversation) {
    // Whoever reloads just now comes to where it is answered.
    onItsWay.keep({ ...onItsWay.get(), begun: conversation });
    if (this.conversation === conversation) return;
    this.conversation = conversation;
    this.composer.moved(conversation);
    this.emit("begun", conversation);
  }

  stop() {
    this.run?.stop();
  }

  // What concerns the whole conversation.
  fail(error, again) {
    const gone = error instanceof Lost;
    const { words, site, language } = this;
    const { said, actions } = gone
      ? { said: words("notLoaded"), actions: [button(words("againNow"), again)] }
      : explain(error, { words, site, language });
    this.tell(said, actions);
  }

  tell(text, actions = []) {
    this.notice.hidden = text === null;
    this.notice.replaceChildren(...(text === null ? [] : [text, " ", ...actions]));
  }

  // A turn that failed, or a question that was not taken.
  refused(answer, error, question, forget = null) {
    onItsWay.drop();
    const { words, site, language } = this;
    const { said, actions } = explain(error, {
      words, site, language,
      again: () => {
        if (this.run) return;
        if (forget) forget();
        else answer.problem(null);
        this.ask(question);
      },
      follow: () => this.open(this.conversation),
    });
    answer.problem(said, actions);
    return said;
  }

  emit(name, detail) {
    this.dispatchEvent(new CustomEvent(name, { detail }));
  }
}
