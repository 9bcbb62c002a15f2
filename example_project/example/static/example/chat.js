// The chat page: posts a question, shows the answer while it is being written, then what it took.

const page = {
  form: document.getElementById("ask"),
  question: document.getElementById("question"),
  send: document.getElementById("send"),
  talk: document.getElementById("talk"),
  welcome: document.getElementById("welcome"),
  status: document.getElementById("status"),
  newChat: document.getElementById("new-chat"),
  message: document.getElementById("message"),
  decision: document.getElementById("decision"),
};
const csrfToken = page.form.elements.csrfmiddlewaretoken.value;
const money = new Intl.NumberFormat("en", {
  style: "currency", currency: "USD", minimumFractionDigits: 0, maximumFractionDigits: 12,
});

let conversationId = null;
let running = null; // the AbortController of the answer being read

// A refusal of the site, in words meant for the person who asked.
class Refusal extends Error {}

// Yields the JSON of each event. A chunk of the body may end anywhere, even between the two halves of a CR LF.
async function* readEvents(body) {
  const decoder = new TextDecoder();
  const reader = body.getReader();
  let pending = "";
  let data = [];
  try {
    for (let ended = false; !ended;) {
      const { value, done } = await reader.read();
      ended = done;
      pending += done ? (pending.endsWith("\r") ? "\n" : "") : decoder.decode(value, { stream: true });
      const lines = pending.split(/\r\n|\n|\r(?=[^])/);
      pending = lines.pop();
      for (const line of lines) {
        if (line.startsWith("data:")) {
          data.push(line.slice(line[5] === " " ? 6 : 5));
        } else if (line === "" && data.length) {
          yield JSON.parse(data.join("\n"));
          data = [];
        }
      }
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}

async function post(url, asked, signal) {
  const response = await fetch(url, {
    method: "POST",
    headers: { "Content-Type": "application/json", "X-CSRFToken": csrfToken },
    body: JSON.stringify(asked),
    signal,
  });
  if (response.ok) return response;
  const { error } = await response.json().catch(() => ({}));
  if (["not_authenticated", "csrf_failed"].includes(error?.code)) {
    throw new Refusal("You are logged out, or the page is too old. Reload it to go on.");
  }
  throw new Refusal(error?.message ?? `The site answered with status ${response.status}.`);
}

function show(author, name) {
  page.welcome.hidden = true;
  const element = page.message.content.firstElementChild.cloneNode(true);
  element.classList.add(author);
  element.querySelector("h2").textContent = name;
  page.talk.append(element);
  page.talk.scrollTop = page.talk.scrollHeight;
  return {
    element,
    activity: element.querySelector(".activity"),
    text: element.querySelector(".text"),
    footer: element.querySelector("footer"),
    calls: new Map(),
    act(event) {
      const line = document.createElement("li");
      line.textContent = `${event.name} ${event.arguments}`;
      this.activity.append(line);
      this.activity.hidden = false;
      this.calls.set(event.id, { ...event, line });
      line.scrollIntoView({ block: "nearest" });
    },
    settle(event) {
      const call = this.calls.get(event.id);
      if (!call) return;
      call.line.classList.toggle("problem", event.status !== "completed");
      call.line.append(` → ${event.result}`);
      call.settled = true;
      this.apart = this.text.textContent !== "";
    },
    append(text) {
      if (this.apart) this.text.append("\n\n");
      this.apart = false;
      const { scrollHeight, scrollTop, clientHeight } = page.talk;
      const follows = scrollHeight - scrollTop - clientHeight < 48;
      this.text.append(text);
      this.text.normalize();
      if (follows) page.talk.scrollTop = page.talk.scrollHeight;
    },
    note(text, isProblem = false) {
      const line = document.createElement("div");
      line.textContent = text;
      line.classList.toggle("problem", isProblem);
      this.footer.append(line);
      line.scrollIntoView({ block: "nearest" });
    },
  };
}

function describe({ reason, usage, cost }, seconds) {
  const parts = [];
  if (reason === "length") parts.push("cut at the length limit");
  if (usage) {
    const { total_tokens: total, prompt_tokens: asked, completion_tokens: answered } = usage;
    parts.push(`${total} tokens (${asked} in, ${answered} out)`);
  }
  parts.push(cost === null ? "cost unknown" : money.format(Number(cost)), `${seconds.toFixed(1)} s`);
  return parts.join(" · ");
}

// A person decides about each call that waits; resolves to true (approved) or false (declined).
function decision(call, signal) {
  return new Promise((resolve, reject) => {
    const buttons = page.decision.content.firstElementChild.cloneNode(true);
    buttons.setAttribute("aria-label", `Decide about ${call.name}`);
    const decide = (approved) => {
      buttons.remove();
      resolve(approved);
    };
    buttons.querySelector(".approve").addEventListener("click", () => decide(true));
    buttons.querySelector(".decline").addEventListener("click", () => decide(false));
    signal.addEventListener("abort", () => reject(signal.reason), { once: true });
    call.line.append(buttons);
    buttons.scrollIntoView({ block: "nearest" });
    page.status.textContent = `${call.name} needs your approval.`;
  });
}

// Shows the events of a response; returns its finish event.
async function read(response, answer, accepted) {
  let finish = null;
  for await (const event of readEvents(response.body)) {
    if (event.type === "start") {
      answer.turnId = event.turn_id;
      accepted(event.conversation_id);
    } else if (event.type === "content") {
      answer.append(event.content);
    } else if (event.type === "function_call") {
      answer.act(event);
    } else if (event.type === "function_result") {
      answer.settle(event);
    } else if (event.type === "finish") {
      finish = event;
    } else if (event.type === "error") {
      throw new Refusal(event.error.message);
    }
  }
  if (!finish) throw new TypeError("The stream ended early.");
  return finish;
}

// Has every waiting call decided; returns the finish event of the rest of the turn.
async function decideAll(answer, signal, accepted) {
  for (const call of answer.calls.values()) {
    if (!call.requires_approval || call.settled) continue;
    const approve = await decision(call, signal);
    page.status.textContent = "Answering…";
    const url = page.form.dataset.approve.replace("00000000-0000-0000-0000-000000000000", answer.turnId);
    const response = await post(url, { approve, call_id: call.id, stream: true }, signal);
    if (!response.headers.get("Content-Type").startsWith("text/event-stream")) continue;
    return read(response, answer, accepted);
  }
  throw new TypeError("The turn waits for nothing that is known here.");
}

async function ask(question) {
  const started = performance.now();
  running = new AbortController();
  const { signal } = running;
  const mine = show("user", "You asked");
  mine.append(question);
  const answer = show("assistant", "The answer");
  answer.element.setAttribute("aria-busy", "true");
  page.status.textContent = "Answering…";
  page.send.disabled = true;
  let isAccepted = false;
  const accepted = (id) => {
    isAccepted = true;
    conversationId = id;
    page.newChat.hidden = false;
  };
  try {
    const asked = { message: question, stream: true };
    if (conversationId) asked.conversation_id = conversationId;
    let finish = await read(await post(page.form.action, asked, signal), answer, accepted);
    while (finish.reason === "awaiting_approval") finish = await decideAll(answer, signal, accepted);
    const taken = describe(finish, (performance.now() - started) / 1000);
    answer.note(taken);
    page.status.textContent = `Answer complete: ${taken}`;
  } catch (error) {
    if (error.name === "AbortError") return;
    const lost = "The connection to the site was lost before the answer was complete.";
    const problem = error instanceof Refusal ? error.message : lost;
    answer.note(problem, true);
    page.status.textContent = problem;
    if (!isAccepted && page.question.value === "") page.question.value = question;
  } finally {
    answer.element.removeAttribute("aria-busy");
    if (running?.signal === signal) {
      page.send.disabled = false;
      running = null;
    }
  }
}

page.form.addEventListener("submit", (event) => {
  event.preventDefault();
  const question = page.question.value.trim();
  if (!question || running) return;
  page.question.value = "";
  page.question.focus();
  ask(question);
});

page.question.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
    event.preventDefault();
    page.form.requestSubmit();
  }
});

page.newChat.addEventListener("click", () => {
  running?.abort();
  running = null;
  page.send.disabled = false;
  conversationId = null;
  page.talk.querySelectorAll(".message").forEach((message) => message.remove());
  page.welcome.hidden = false;
  page.newChat.hidden = true;
  page.status.textContent = "A new conversation begins with your next question.";
  page.question.focus();
});

page.question.disabled = false;
page.send.disabled = false;
page.question.focus();
