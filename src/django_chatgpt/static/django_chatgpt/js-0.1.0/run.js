// One turn as it runs: its events shown, its stream taken up again, its calls decided.

import { Lost, Refusal } from "./site.js";
import { Backoff, pause, readEvents } from "./stream.js";
import { button } from "./trouble.js";

const ENDED = { length: "cut", max_steps: "maxSteps", content_filter: "filtered", cancelled: "stopped" };

export class Run {
  // `open` gives the first stream; without it the turn is followed from its first event. `forget` takes a
  // question away that the site never took.
  constructor(chat, answer, { open = null, turnId = null, forget = null }) {
    this.chat = chat;
    this.answer = answer;
    this.turnId = turnId;
    this.forget = forget;
    this.open = open ?? (() => this.replay());
    this.last = 0;
    this.spoken = 0;
    this.finish = null;
    this.isLost = false;
    this.over = false;
    this.backoff = new Backoff();
    this.abort = new AbortController();
  }

  leave() {
    this.abort.abort();
  }

  async start() {
    const { answer, chat } = this;
    answer.busy = true;
    chat.announcer.say(chat.words("answering"));
    try {
      await this.listen();
      await this.end();
    } catch (error) {
      if (error.name === "AbortError") return;
      this.fail(error);
    }
  }

  // Reads to the end of the turn, or until it rests, however often the connection goes.
  async listen() {
    for (;;) {
      try {
        const response = await this.open(this.abort.signal);
        this.back();
        if (response.status === 204 || (await this.read(response))) return;
        throw new Lost("the stream ended early");
      } catch (error) {
        if (!(error instanceof Lost)) throw error;
        if (this.turnId) this.open = () => this.replay();
        await this.wait();
      }
    }
  }

  replay() {
    const place = this.chat.site.place("turn_events", this.turnId);
    const address = `${place}?render=html&after=${this.last}`;
    return this.chat.site.send("GET", address, { signal: this.abort.signal });
  }

  async read(response) {
    const type = response.headers.get("Content-Type") ?? "";
    // A decision after which other calls wait, or somebody else goes on with the turn.
    if (!type.startsWith("text/event-stream")) return true;
    for await (const [number, event] of readEvents(response.body)) {
      if (number !== null && number <= this.last) continue;
      this.show(event);
      if (number !== null) this.last = number;
      this.chat.scroll.grown();
      if (event.type === "done") return true;
    }
    return false;
  }

  show(event) {
    const { answer, chat } = this;
    this.turnId = event.turn_id;
    this.backoff.reset();
    if (event.type !== "content" && event.html) answer.say("", event.html);
    switch (event.type) {
      case "start":
        chat.begun(event.conversation_id);
        break;
      case "content":
        answer.say(event.content, event.html);
        this.speak(event.html?.from ?? 0);
        break;
      case "function_call":
        this.speak(Infinity);
        this.spoken = 0;
        answer.call(event);
        break;
      case "function_result":
        answer.settle(event);
        break;
      case "finish":
        this.finish = event;
        break;
      case "error":
        this.error = new Refusal(0, event.error);
        break;
    }
  }

  // Tells a screen reader of the blocks that are complete.
  speak(to) {
    const { text } = this.answer;
    if (!text || to <= this.spoken) return;
    for (const said of text.spoken(this.spoken, to)) this.chat.announcer.say(said);
    this.spoken = to;
  }

  async wait() {
    const { chat, answer } = this;
    const { words } = chat;
    this.isLost = true;
    const said = words(!navigator.onLine ? "offline" : this.turnId ? "lost" : "lostQuestion");
    const counter = document.createElement("p");
    counter.className = "dc-countdown";
    const now = button(words("againNow"), () => waiting.now());
    const waiting = pause(this.backoff.next(), this.abort.signal, (seconds) => {
      counter.textContent = words("againIn", { seconds });
    });
    const had = answer.element.contains(document.activeElement);
    answer.problem(said, [counter, now]);
    chat.scroll.grown();
    if (!this.announced) chat.announcer.say(said);
    this.announced = true;
    await waiting.waited;
    if (had) chat.composer.field.focus();
  }

  back() {
    if (!this.isLost) return;
    this.isLost = this.announced = false;
    this.answer.problem(null);
    this.chat.announcer.say(this.chat.words("back"));
  }

  // The turn is over, or it rests until somebody has decided.
  async end() {
    const { answer, chat, turnId } = this;
    const turn = await this.look();
    if (turn.status === "awaiting_approval" && turn.waiting.length) {
      this.ask(turn.waiting);
      this.over = false;
      return;
    }
    if (["queued", "running"].includes(turn.status)) {
      this.open = () => this.replay();
      await this.listen();
      return this.end();
    }
    this.over = true;
    answer.end();
    this.speak(Infinity);
    const result = turn.result;
    if (result) answer.took(result.usage.total_tokens, result.cost);
    else if (this.finish) answer.took(this.finish.usage.total_tokens, this.finish.cost);
    answer.sources(turn.sources);
    const error = this.error ?? (turn.error && new Refusal(0, turn.error));
    const ended = ENDED[turn.status === "cancelled" ? "cancelled" : this.finish?.reason];
    if (error) chat.announcer.say(chat.refused(answer, error, answer.question));
    else if (ended) answer.note(chat.words(ended));
    chat.announcer.say(chat.words(error ? "" : ended ?? "finished"));
    chat.scroll.grown();
    chat.emit("ended", { conversation: chat.conversation, turnId });
  }

  // The turn as it is stored; as often as it takes.
  async look() {
    for (;;) {
      try {
        const turn = await this.chat.site.get(this.chat.site.place("turn", this.turnId), this.abort.signal);
        this.back();
        return turn;
      } catch (error) {
        if (!(error instanceof Lost)) throw error;
        await this.wait();
      }
    }
  }

  ask(waiting) {
    const { answer, chat } = this;
    for (const { call_id: id, name, arguments: asked } of waiting) {
      const call = answer.call({ id, name, arguments: asked });
      call.wait((approve) => this.decide(call, approve));
      chat.announcer.say(chat.words("mayCall", { name }));
    }
    answer.think();
    chat.scroll.grown();
  }

  async decide(call, approve) {
    const { chat } = this;
    const place = `${chat.site.place("approve", this.turnId)}?render=html`;
    const body = { approve, call_id: call.id, stream: true };
    this.open = (signal) => chat.site.send("POST", place, { body, signal });
    call.decided();
    chat.composer.field.focus();
    this.finish = null;
    try {
      await this.listen();
      await this.end();
    } catch (error) {
      if (error.name === "AbortError") return;
      // Somebody else was faster: what came of it is to be seen.
      if (error.code === "decided") await this.end().catch((later) => this.fail(later));
      else this.fail(error);
    } finally {
      chat.settle(this);
    }
  }

  async stop() {
    const { chat } = this;
    chat.composer.stop.disabled = true;
    if (!this.turnId) {
      // It is not known under which name it runs: what is stored of it is shown when somebody looks.
      this.leave();
      this.forget?.();
      if (!chat.composer.text) chat.composer.text = this.answer.question;
      chat.settle(Object.assign(this, { over: true }));
      return;
    }
    chat.announcer.say(chat.words("stopping"));
    try {
      const place = chat.site.place("cancel", this.turnId);
      const turn = await chat.site.read(await chat.site.send("POST", place, { signal: this.abort.signal }));
      // One that rested has no stream that tells.
      if (turn.status === "cancelled" && this.finish?.reason === "awaiting_approval") {
        await this.end();
        chat.settle(this);
      }
    } catch (error) {
      if (error.name === "AbortError") return;
      chat.composer.stop.disabled = false;
      chat.fail(error, () => this.stop());
    }
  }

  fail(error) {
    const { chat, answer } = this;
    this.over = true;
    answer.end();
    const forget = this.turnId ? null : this.forget;
    const said =
      error instanceof Refusal ? chat.refused(answer, error, answer.question, forget) : this.odd(error);
    if (!this.turnId && ["not_authenticated", "csrf_failed"].includes(error.code)) {
      chat.composer.text = answer.question;
    }
    chat.announcer.say(said);
    chat.scroll.grown();
  }

  odd(error) {
    console.error(error);
    const said = this.chat.words("failed");
    this.answer.problem(said);
    return said;
  }
}
