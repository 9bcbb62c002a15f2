// Server-sent events, read from the body of a response, and taken up again where they were cut.

import { Lost } from "./site.js";

// Yields [number, object] of each event; the number is null where it has none. A chunk of the body may end
// anywhere, even between the two halves of a line break.
export async function* readEvents(body) {
  const decoder = new TextDecoder();
  const reader = body.getReader();
  let pending = "";
  let data = [];
  let id = null;
  try {
    for (let ended = false; !ended;) {
      let chunk;
      try {
        chunk = await reader.read();
      } catch (error) {
        if (error.name === "AbortError") throw error;
        throw new Lost(error.message);
      }
      ended = chunk.done;
      pending += ended ? (pending.endsWith("\r") ? "\n" : "") : decoder.decode(chunk.value, { stream: true });
      const lines = pending.split(/\r\n|\n|\r(?=[^])/);
      pending = lines.pop();
      for (const line of lines) {
        if (line.startsWith("data:")) {
          data.push(line.slice(line[5] === " " ? 6 : 5));
        } else if (line.startsWith("id:")) {
          id = Number(line.slice(3).trim());
        } else if (line === "") {
          if (data.length) yield [id, JSON.parse(data.join("\n"))];
          data = [];
          id = null;
        }
      }
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}

const FIRST_WAIT = 500;
const LONGEST_WAIT = 15_000;

// Waits before the next try, each time about twice as long; `now` ends the wait.
export class Backoff {
  constructor() {
    this.wait = FIRST_WAIT;
  }

  reset() {
    this.wait = FIRST_WAIT;
  }

  next() {
    const wait = this.wait * (0.75 + Math.random() / 2);
    this.wait = Math.min(LONGEST_WAIT, this.wait * 2);
    return wait;
  }
}

// Resolves after so many milliseconds, when `now()` is called, or when the browser is online again.
export function pause(milliseconds, signal, tick = () => {}) {
  const until = performance.now() + milliseconds;
  let now;
  const waited = new Promise((resolve, reject) => {
    const told = () => tick(Math.max(0, Math.ceil((until - performance.now()) / 1000)));
    told();
    const seconds = setInterval(told, 1000);
    const timer = setTimeout(end, milliseconds);
    function end() {
      clearTimeout(timer);
      clearInterval(seconds);
      removeEventListener("online", end);
      signal?.removeEventListener("abort", stop);
      resolve();
    }
    function stop() {
      end();
      reject(signal.reason);
    }
    addEventListener("online", end);
    if (signal?.aborted) stop();
    else signal?.addEventListener("abort", stop);
    now = end;
  });
  return { waited, now: () => now() };
}
