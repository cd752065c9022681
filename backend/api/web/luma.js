// One connection of a page with its backend: events of GET /ws, commands on the same socket, and REST.
//
// A page comes in with the session cookie (opened from the window) or with the overlay token in its own address
// (`?token=…`, read-only). The connection is made again for ever, with growing pauses, so a page in OBS needs no care:
//
//   const luma = new Luma({ types: ["playback.*", "avatar.*"] });
//   luma.onReady(async () => show(await luma.get("/overlay/state")));   // at every (re)connection, before its events
//   luma.on("playback.started", (event) => ...);                        // event: the envelope; event.data: its own fields
//   luma.onState((state, detail) => ...);                               // "connecting" | "open" | "closed"
//   luma.start();
//   await luma.command("chat", { text: "hello" });                      // {"do": …} -> its answer, or throws LumaError
//   await luma.post("/api/expression", { expression_id: "joy" });       // JSON in, JSON out, or throws LumaError
//
// By default a page begins with what happens from now on and reads the rest by REST in `onReady`. With `resume: true`
// the events that were missed while the connection was away are sent first; they carry `replayed: true`. When that is not
// possible (another database, or too long ago) `onReady` is called with `{ reset: reason }`.

const FIRST_PAUSE_MS = 400;
const LONGEST_PAUSE_MS = 8000;
const PING_EVERY_MS = 10_000;
const SILENT_MS = 25_000; // a socket that has not even answered a ping this long is dead
const CONNECT_MS = 8000;
const COMMAND_MS = 30_000;
const MOST_HELD = 5000; // events that may wait for a slow onReady

/** What the backend refused, with its stable code and its words. */
export class LumaError extends Error {
  constructor(code, message, status = 0) {
    super(message);
    this.name = "LumaError";
    this.code = code;
    this.status = status;
  }
}

/** The overlay token of this page's address; empty for a page with a session. */
export const pageToken = () => new URLSearchParams(location.search).get("token") ?? "";

export class Luma {
  #types;
  #severity;
  #resumes;
  #plays;
  #token = pageToken();
  #listeners = []; // [pattern, function]
  #ready = [];
  #states = [];
  #faults = [];
  #socket = null;
  #state = "closed";
  #isWanted = false;
  #tries = 0;
  #timer = 0;
  #beat = 0;
  #heardAt = 0;
  #seq = null; // the last stored event that was seen
  #epoch = null;
  #boundary = 0;
  #held = null; // events that wait until onReady is done
  #commands = new Map();
  #number = 0;

  /**
   * @param {object} options
   * @param {string[]|null} options.types  Types of events as globs; null = all.
   * @param {string} options.severity      The lowest that is sent.
   * @param {boolean} options.resume       Whether missed events are sent after a lost connection.
   * @param {boolean} options.plays        Whether this page plays the stage's sound when AUDIO_SINK is overlay.
   */
  constructor({ types = null, severity = "DEBUG", resume = false, plays = false } = {}) {
    this.#types = types;
    this.#severity = severity;
    this.#resumes = resume;
    this.#plays = plays;
  }

  get state() {
    return this.#state;
  }

  get isReadOnly() {
    return this.#token !== "";
  }

  // --- listening ---

  /** Call `heard(event)` for events of a type or glob ("playback.*", "*"); returns what ends it. */
  on(pattern, heard) {
    const entry = [pattern, heard];
    this.#listeners.push(entry);
    return () => {
      this.#listeners = this.#listeners.filter((other) => other !== entry);
    };
  }

  /** Call `ready({reset})` at each connection; events wait until what it returns is done. */
  onReady(ready) {
    this.#ready.push(ready);
  }

  /** Call `told(state, detail)` when the connection changes; detail: {code, reason, retryMs} or {}. */
  onState(told) {
    this.#states.push(told);
    told(this.#state, {});
  }

  /** Call `told(error)` when the backend refuses something that is no command: sound that was sent. */
  onFault(told) {
    this.#faults.push(told);
  }

  // --- the connection ---

  start() {
    if (this.#isWanted) return;
    this.#isWanted = true;
    this.#connect();
    // A computer that was asleep, or a network that is back, should not wait for the pause to end.
    addEventListener("online", this.#hurry);
    document.addEventListener("visibilitychange", this.#hurry);
  }

  close() {
    this.#isWanted = false;
    removeEventListener("online", this.#hurry);
    document.removeEventListener("visibilitychange", this.#hurry);
    clearTimeout(this.#timer);
    this.#socket?.close(1000);
    this.#lost(this.#socket, { code: 1000, reason: "" });
  }

  #hurry = () => {
    if (this.#isWanted && !this.#socket && document.visibilityState === "visible") {
      clearTimeout(this.#timer);
      this.#connect();
    }
  };

  #connect() {
    this.#tell("connecting", {});
    const address = new URL("/ws", location.href);
    address.protocol = location.protocol === "https:" ? "wss:" : "ws:";
    if (this.#token) address.searchParams.set("token", this.#token);
    const socket = new WebSocket(address);
    this.#socket = socket;
    this.#heardAt = performance.now();
    this.#beat = setInterval(() => this.#check(socket), 2000);
    socket.onopen = () => {
      const hello = { types: this.#types, severity: this.#severity, batch: true, plays: this.#plays };
      if (this.#resumes && this.#seq !== null) Object.assign(hello, { since: this.#seq, epoch: this.#epoch });
      socket.send(JSON.stringify({ hello }));
    };
    socket.onmessage = (message) => {
      this.#heardAt = performance.now();
      if (socket === this.#socket) this.#read(message.data);
    };
    socket.onclose = (event) => this.#lost(socket, event);
  }

  #check(socket) {
    const quietMs = performance.now() - this.#heardAt;
    if (socket.readyState === WebSocket.CONNECTING ? quietMs > CONNECT_MS : quietMs > SILENT_MS) {
      // close() alone waits for an answer from the very side that is silent.
      socket.onclose = null;
      socket.close();
      this.#lost(socket, { code: 0, reason: "nothing was heard of the backend" });
    } else if (socket.readyState === WebSocket.OPEN && quietMs > PING_EVERY_MS) {
      socket.send(JSON.stringify({ ping: 1 }));
    }
  }

  #lost(socket, { code, reason }) {
    if (socket === null || socket !== this.#socket) return;
    this.#socket = null;
    this.#held = null;
    clearInterval(this.#beat);
    for (const { fail } of this.#commands.values()) {
      fail(new LumaError("connection.lost", "The connection was lost before the answer came."));
    }
    this.#commands.clear();
    let retryMs = 0;
    if (this.#isWanted) {
      const pauseMs = Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 1.6 ** this.#tries);
      this.#tries += 1;
      // Between a half and all of it: pages that lost the same backend do not come back in step.
      retryMs = pauseMs * (0.5 + Math.random() / 2);
      this.#timer = setTimeout(() => this.#connect(), retryMs);
    }
    this.#tell("closed", { code, reason, retryMs });
  }

  #tell(state, detail) {
    if (state === this.#state && state !== "closed") return;
    this.#state = state;
    for (const told of this.#states) told(state, detail);
  }

  #read(text) {
    const found = JSON.parse(text);
    for (const one of Array.isArray(found) ? found : [found]) {
      if (one.type) this.#event(one);
      else if (one.hello) this.#greeted(one.hello);
      else if (one.reset) this.#reset(one.reset);
      else if ("done" in one || "failed" in one) this.#answered(one);
    }
  }

  #greeted({ seq, epoch }) {
    const mayAskAgain = this.#resumes && this.#epoch === epoch && this.#seq !== null;
    this.#boundary = seq;
    this.#epoch = epoch;
    if (!mayAskAgain) this.#seq = seq;
    this.#held = [];
    this.#tell("open", {});
    // One moment later: a reset, when there is one, comes in the next frame.
    const socket = this.#socket;
    this.#resetReason = "";
    setTimeout(() => this.#prepare(socket), mayAskAgain ? 30 : 0);
  }

  #resetReason = "";

  #reset({ seq, epoch, reason }) {
    this.#seq = seq;
    this.#epoch = epoch;
    this.#resetReason = reason;
  }

  async #prepare(socket) {
    if (socket !== this.#socket) return;
    for (const ready of this.#ready) {
      try {
        await ready({ reset: this.#resetReason });
      } catch (error) {
        // A page that cannot be prepared is prepared again at the next connection, which is soon.
        if (socket === this.#socket) {
          console.warn("luma: the page could not be brought up to date:", error.message);
          socket.close(4000, "the page could not be brought up to date");
        }
        return;
      }
    }
    if (socket !== this.#socket) return;
    this.#tries = 0; // only now: a backend that answers and cannot serve the page is not asked twice a second
    const held = this.#held ?? [];
    this.#held = null;
    for (const event of held) this.#hand(event);
  }

  #event(event) {
    if (event.seq !== null) {
      event.replayed = event.seq <= this.#boundary;
      this.#seq = Math.max(this.#seq ?? 0, event.seq);
    }
    if (this.#held === null) this.#hand(event);
    else if (this.#held.length < MOST_HELD) this.#held.push(event);
    else this.#socket?.close(4000, "too many events waited for the page");
  }

  #hand(event) {
    for (const [pattern, heard] of this.#listeners) {
      if (pattern === event.type || pattern === "*" || isIn(pattern, event.type)) {
        try {
          heard(event);
        } catch (error) {
          console.error(`luma: ${event.type}:`, error); // one listener's mistake costs the others nothing
        }
      }
    }
  }

  // --- commands and REST ---

  /** Give a command; resolves with its answer, or rejects with LumaError. */
  command(name, fields = {}, { timeoutMs = COMMAND_MS } = {}) {
    const socket = this.#socket;
    if (this.#state !== "open" || socket?.readyState !== WebSocket.OPEN) {
      return Promise.reject(new LumaError("connection.lost", "There is no connection to Luma right now."));
    }
    const id = ++this.#number;
    return new Promise((resolve, reject) => {
      const timer = setTimeout(
        () => end(reject, new LumaError("timeout", `No answer to ${name} within ${timeoutMs / 1000} s.`)),
        timeoutMs,
      );
      const end = (settle, value) => {
        clearTimeout(timer);
        this.#commands.delete(id);
        settle(value);
      };
      this.#commands.set(id, {
        done: (value) => end(resolve, value),
        fail: (error) => end(reject, error),
      });
      socket.send(JSON.stringify({ ...fields, do: name, id }));
    });
  }

  /** Send sound for {"do": "listen"}: PCM16, mono, at the rate that was said there. */
  sendSound(pcm) {
    if (this.#socket?.readyState === WebSocket.OPEN) this.#socket.send(pcm);
  }

  #answered(found) {
    if ("done" in found) {
      this.#commands.get(found.done)?.done(found);
    } else if (found.failed === null || found.failed === undefined) {
      console.warn(`luma: ${found.code}: ${found.message}`);
      for (const told of this.#faults) told(new LumaError(found.code, found.message));
    } else {
      this.#commands.get(found.failed)?.fail(new LumaError(found.code, found.message));
    }
  }

  /** An address of the backend, with the overlay token where this page has one. */
  url(path) {
    const address = new URL(path, location.href);
    if (address.origin !== location.origin) throw new LumaError("input.invalid", `${path} is not on this backend.`);
    if (this.#token) address.searchParams.set("token", this.#token);
    return address.href;
  }

  get(path) {
    return this.request("GET", path);
  }

  post(path, body = {}) {
    return this.request("POST", path, body);
  }

  put(path, body = {}) {
    return this.request("PUT", path, body);
  }

  patch(path, body = {}) {
    return this.request("PATCH", path, body);
  }

  delete(path) {
    return this.request("DELETE", path, {});
  }

  /** JSON in, JSON out; a Response for `raw`. Throws LumaError with the backend's code and words. */
  async request(method, path, body, { raw = false, signal } = {}) {
    const headers = { "X-Luma-Page": "1" };
    if (body !== undefined) headers["Content-Type"] = "application/json";
    let response;
    try {
      response = await fetch(this.url(path), {
        method,
        headers,
        body: body === undefined ? undefined : JSON.stringify(body),
        credentials: "same-origin",
        cache: "no-store",
        signal,
      });
    } catch (error) {
      if (error.name === "AbortError") throw error;
      throw new LumaError("connection.lost", "Luma does not answer. Is it running?");
    }
    if (response.ok && raw) return response;
    const text = await response.text();
    let found = null;
    try {
      found = text ? JSON.parse(text) : null;
    } catch {
      // below: not ours
    }
    if (response.ok) return found;
    throw new LumaError(
      found?.code ?? "http",
      found?.message ?? `Luma answered ${response.status} to ${method} ${path}.`,
      response.status,
    );
  }
}

const isIn = (glob, type) => glob.endsWith(".*") && type.startsWith(glob.slice(0, -1));
