// What went wrong, said to people: which words, and what they can do about it.

import { inWords } from "./composer.js";

const WORDS = {
  rate_limited: "rateLimited",
  quota_exceeded: "quotaExceeded",
  token_limit: "tokenLimit",
  too_large: "tokenLimit",
  content_filter: "contentFilter",
  permission_denied: "permissionDenied",
  not_authenticated: "loggedOut",
  csrf_failed: "tooOld",
  not_found: "gone",
  turn_running: "busy",
  decided: "decided",
  interrupted: "interrupted",
  provider_error: "provider",
  provider_unavailable: "provider",
  provider_rate_limited: "provider",
  provider_timeout: "provider",
  provider_protocol: "provider",
  provider_rejected: "providerRejected",
  provider_quota: "notConfigured",
  not_configured: "notConfigured",
  filter_unavailable: "provider",
  worker_unavailable: "provider",
  invalid_output: "provider",
};

// Codes after which it makes no sense to ask the same again.
const FINAL = new Set([
  "token_limit", "too_large", "content_filter", "permission_denied", "not_found", "not_authenticated",
  "csrf_failed",
]);

export function button(text, pressed) {
  const element = document.createElement("button");
  element.type = "button";
  element.className = "dc-quiet dc-action";
  element.textContent = text;
  element.addEventListener("click", pressed);
  return element;
}

export function link(text, address) {
  const element = document.createElement("a");
  element.className = "dc-quiet dc-action";
  element.textContent = text;
  element.href = address;
  return element;
}

// What to say of an error of the site, and the elements that mend it.
export function explain(error, { words, site, language, again, follow }) {
  const known = WORDS[error.code];
  const said = known ? words(known) : error.status === 400 && error.message ? error.message : words("failed");
  const actions = [];
  if (error.code === "not_authenticated") actions.push(link(words("logIn"), site.login));
  if (error.code === "csrf_failed") actions.push(button(words("reload"), () => location.reload()));
  if (error.code === "turn_running" && follow && error.turnId) {
    actions.push(button(words("busyShow"), () => follow(error.turnId)));
  }
  if (again && !FINAL.has(error.code) && error.code !== "turn_running") {
    const retry = button(words("askAgain"), again);
    if (error.retryAfter) actions.push(countdown(error.retryAfter, retry, language, words));
    actions.push(retry);
  }
  return { said, actions };
}

// Seconds until something may be tried again; the button waits with it.
function countdown(seconds, retry, language, words) {
  const until = performance.now() + seconds * 1000;
  const line = document.createElement("p");
  line.className = "dc-countdown";
  retry.disabled = true;
  const told = () => {
    const left = (until - performance.now()) / 1000;
    line.textContent = inWords(left, language, words);
    retry.disabled = left > 0;
    if (left > 0 && (line.isConnected || left > seconds - 2)) setTimeout(told, left > 3600 ? 60_000 : 1000);
  };
  told();
  return line;
}
