// The site's HTTP interface: where it is, and what went wrong there.

const ANY_ID = "00000000-0000-0000-0000-000000000000";

// The site has answered, and refused.
export class Refusal extends Error {
  constructor(status, error = {}, retryAfter = null) {
    super(error.message ?? "");
    this.status = status;
    this.code = error.code ?? "";
    this.turnId = error.turn_id ?? null;
    this.retryAfter = retryAfter;
  }
}

// Nobody has answered, or something in between.
export class Lost extends Error {}

export class Site {
  constructor(shell, token) {
    this.shell = shell;
    this.token = token;
  }

  place(name, id = null) {
    const place = this.shell.dataset[`place${name[0].toUpperCase()}${name.slice(1)}`];
    return id === null ? place : place.replace(ANY_ID, encodeURIComponent(id));
  }

  get login() {
    return `${this.place("login")}?${new URLSearchParams({ next: location.pathname + location.search })}`;
  }

  async send(method, url, { body, headers = {}, signal } = {}) {
    const asked = { method, headers: { Accept: "application/json, text/event-stream", ...headers }, signal };
    if (method !== "GET") asked.headers["X-CSRFToken"] = this.token;
    if (body !== undefined) {
      asked.headers["Content-Type"] = "application/json";
      asked.body = JSON.stringify(body);
    }
    let response;
    try {
      response = await fetch(url, asked);
    } catch (error) {
      if (error.name === "AbortError") throw error;
      throw new Lost(error.message);
    }
    if (response.ok) return response;
    const told = await response.json().catch(() => null);
    // A proxy whose server is away answers in words of its own.
    if (!told?.error?.code && response.status >= 500) throw new Lost(`status ${response.status}`);
    const retryAfter = Number(response.headers.get("Retry-After"));
    throw new Refusal(response.status, told?.error, retryAfter > 0 ? retryAfter : null);
  }

  async get(url, signal) {
    return this.read(await this.send("GET", url, { signal }));
  }

  async read(response) {
    try {
      return await response.json();
    } catch (error) {
      if (error.name === "AbortError") throw error;
      throw new Lost(error.message);
    }
  }
}
