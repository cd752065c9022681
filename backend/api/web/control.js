// The control panel: what the stage shows and who hears whom, by large buttons. What it shows comes from the backend at every
// connection and with every event; a button waits for the backend, it never pretends.

import { Luma } from "./luma.js";
import { action, el, faceOf, followConnection, icon, noteFailure, panicKey, setButton, strip } from "./webui.js";

const STAGE = "stage";
const OPERATOR = ["page", "window"]; // who asks for what the operator presses, here or in the window
const HOLD_PRIORITY = 50; // above what replies feel, below what a rig's owner may ask for
const MODES = {
  orphiq: ["Compatible server", "star"],
  "external-api": ["Provider", "voice"],
  autonomous: ["Built-in persona", "face"],
};
const MODULES = { hear: ["Hear", "ear"], speak: ["Speak", "voice"] };

const $ = (id) => document.getElementById(id);
const luma = new Luma({
  types: ["avatar.changed", "character.*", "listening.changed", "config.changed", "service.changed", "mode.changed", "panic.changed", "turn.started", "turn.finished", "playback.started", "playback.finished"],
});

const state = {
  character: null,
  characters: [],
  rig: null,
  shown: null,
  listening: null,
  output: null,
  modules: [],
  mode: null,
  panic: { is_on: false },
  turn: null,
  isSpeaking: false,
  repeats: false,
};

function failed(error) {
  if (noteFailure(luma, error)) return;
  for (const shown of $("strips").children) if (shown.dataset.words === error.message) shown.remove();
  const made = strip("error", error.message);
  made.append(action("Dismiss", () => made.remove()));
  made.dataset.words = error.message;
  $("strips").append(made);
  while ($("strips").childElementCount > 2) $("strips").firstElementChild.remove();
}

const tried = (work) => (...given) => Promise.resolve(work(...given)).catch(failed);
const named = (name) => name.replaceAll(/[_-]+/g, " ").replace(/^./, (first) => first.toUpperCase());

// --- buttons ---

/** A large button; drawn again only where something differs, so that no finger loses it. */
class Big {
  constructor(id, onclick) {
    this.label = el("span", { class: "label" });
    this.state = el("span", { class: "state" });
    this.mark = el("span", { class: "mark" });
    this.element = el("button", { class: "big", type: "button", dataset: { id } }, this.mark, this.label, this.state);
    if (onclick) this.element.addEventListener("click", tried(onclick));
  }

  draw({ label, words, look = "", picture, pressed, disabled = false, title = "" }) {
    this.label.textContent = label;
    this.state.textContent = words;
    this.state.hidden = !words;
    this.element.className = `big ${look}`.trim();
    this.element.disabled = disabled;
    this.element.title = title;
    if (pressed === undefined) this.element.removeAttribute("aria-pressed");
    else this.element.setAttribute("aria-pressed", String(pressed));
    const key = typeof picture === "string" ? picture : `${picture?.tagName}${picture?.getAttribute("src")}${picture?.textContent}`;
    if (this.key !== key) {
      this.key = key;
      this.mark.replaceChildren(typeof picture === "string" ? icon(picture) : picture);
    }
    return this;
  }
}

/** The buttons of a group by name: those that stay keep their element and the focus. */
class Group {
  #buttons = new Map();

  constructor(element) {
    this.element = element;
    element.addEventListener("keydown", (event) => moveFocus(element, event));
  }

  draw(wanted, made) {
    const keep = new Set(wanted.map(([id]) => id));
    for (const [id, button] of this.#buttons) {
      if (keep.has(id)) continue;
      button.element.remove();
      this.#buttons.delete(id);
    }
    for (const [n, [id, look]] of wanted.entries()) {
      let button = this.#buttons.get(id);
      if (!button) {
        button = new Big(id, () => made(id));
        this.#buttons.set(id, button);
      }
      button.draw(look);
      if (this.element.children[n] !== button.element) this.element.insertBefore(button.element, this.element.children[n] ?? null);
    }
  }
}

/** The arrow keys go from button to button, as the eye does. */
function moveFocus(group, event) {
  const steps = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: "down", ArrowUp: "up", Home: "first", End: "last" };
  const step = steps[event.key];
  const buttons = [...group.querySelectorAll("button:not(:disabled)")];
  const at = buttons.indexOf(document.activeElement);
  if (step === undefined || at < 0) return;
  event.preventDefault();
  if (step === "first" || step === "last") return buttons.at(step === "first" ? 0 : -1).focus();
  if (typeof step === "number") return buttons[(at + step + buttons.length) % buttons.length].focus();
  const from = document.activeElement.getBoundingClientRect();
  const beyond = buttons.filter((one) => {
    const top = one.getBoundingClientRect().top;
    return step === "down" ? top > from.top + 4 : top < from.top - 4;
  });
  const row = step === "down" ? beyond[0] : beyond.at(-1);
  if (!row) return;
  const top = row.getBoundingClientRect().top;
  const inRow = beyond.filter((one) => Math.abs(one.getBoundingClientRect().top - top) < 4);
  inRow.sort((a, b) => Math.abs(a.getBoundingClientRect().left - from.left) - Math.abs(b.getBoundingClientRect().left - from.left))[0].focus();
}

const acts = new Group($("acts"));
const faces = new Group($("faces"));
const motions = new Group($("motions"));
const characters = new Group($("characters"));
const modes = new Group($("modes"));
const modules = new Group($("modules"));

// --- drawing ---

function draw() {
  drawHead();
  drawActs();
  drawFaces();
  drawMotions();
  drawCharacters();
  drawModes();
  drawModules();
  drawPanic();
}

function drawHead() {
  const who = state.character;
  $("name").textContent = who?.name ?? "Luma";
  const key = `${who?.id} ${who?.avatar_url}`;
  if ($("face").dataset.of !== key) {
    $("face").dataset.of = key;
    $("face").replaceChildren(faceOf(who?.name ?? "?", who?.avatar_url));
  }
  const does = state.panic.is_on ? "stopped" : state.isSpeaking ? "speaking" : state.turn ? "thinking" : "quiet";
  const shown = state.shown;
  const face = shown ? `shows ${shown.expression}` : "";
  const motion = shown?.motion ? `, plays ${shown.motion.name}` : "";
  $("now").textContent = [capital(does), face + motion].filter(Boolean).join(" · ");
}

const capital = (words) => words[0].toUpperCase() + words.slice(1);

function drawActs() {
  const mic = state.listening;
  const out = state.output;
  const isLive = state.turn !== null || state.isSpeaking;
  const micWords = !mic
    ? ""
    : mic.mode === "off"
      ? "off: open it in Luma's window"
      : mic.muted
        ? "muted"
        : { hearing: "somebody speaks", reading: "reading", problem: "has a problem", starting: "starting" }[mic.state] ?? (mic.mode === "open" ? "listening" : "hold to talk");
  acts.draw(
    [
      ["stop", { label: "Stop", words: isLive ? "speaks or thinks" : "nothing runs", picture: "stop", look: isLive ? "on" : "", disabled: !isLive || state.panic.is_on, title: "Stop what is being said (Esc)" }],
      ["mic", { label: "Microphone", words: micWords, picture: mic?.muted || mic?.mode === "off" ? "mic-off" : "mic", look: mic?.muted ? "off" : mic && mic.mode !== "off" ? "on" : "", pressed: mic?.muted ?? false, disabled: !mic || mic.mode === "off" || state.panic.is_on, title: mic?.problem ?? "" }],
      ["voice", { label: "Voice", words: out ? (out.muted ? "muted" : sinkInWords(out)) : "", picture: out?.muted ? "sound-off" : "sound", look: out?.muted ? "off" : out && out.sink !== "none" ? "on" : "", pressed: out?.muted ?? false, disabled: !out || state.panic.is_on, title: out?.problem ?? "" }],
    ],
    press,
  );
  const volume = Math.round((out?.volume ?? 1) * 100);
  if (document.activeElement !== $("volume") || !dragging) $("volume").value = volume;
  $("volume-figure").textContent = `${volume} %`;
  const canTalk = mic?.mode === "push_to_talk" && !mic.muted && !state.panic.is_on;
  $("talk-row").hidden = !canTalk;
  if (canTalk) talk.draw({ label: mic.is_talking ? "Listening" : "Hold to talk", words: "the stage's microphone", picture: "mic", look: mic.is_talking ? "held" : "", pressed: mic.is_talking });
}

const sinkInWords = (out) => ({ speaker: "on the loudspeaker", overlay: "on the overlay", none: "not heard: no output" })[out.sink] ?? `on ${out.sink}`;

function expressions() {
  const known = state.rig?.expressions?.length ? state.rig.expressions : (state.character?.expressions ?? []);
  return known.includes("neutral") ? [...known] : ["neutral", ...known];
}

function drawFaces() {
  const shown = state.shown;
  const isHeld = OPERATOR.includes(shown?.owner) && shown.until === null;
  const own = [["*", { label: "Automatic", words: isHeld ? "tap to let go" : "follows the replies", picture: "star", look: isHeld ? "" : "on", pressed: !isHeld }]];
  const all = expressions().map((name) => {
    const isShown = shown?.expression === name;
    const isMine = isShown && isHeld;
    const look = isMine ? "held" : isShown ? "on" : "";
    return [name, { label: named(name), words: isMine ? "held" : isShown ? "shown now" : "", picture: isShown ? "check" : "face", look, pressed: isMine }];
  });
  faces.draw([...own, ...all], pressFace);
  const problem = state.rig?.problem ?? "";
  $("rig-problem").textContent = problem && `The avatar cannot be shown; pictures stand in. ${problem}`;
  $("rig-problem").hidden = !problem;
}

function drawMotions() {
  const playing = state.shown?.motion;
  const all = (state.rig?.motions ?? []).map((motion) => {
    const isPlaying = playing?.name === motion.name;
    const words = isPlaying ? (playing.loop ? "repeats: tap to end" : "plays now") : "";
    return [motion.name, { label: named(motion.name), words, picture: isPlaying ? "check" : "motion", look: isPlaying ? (playing.loop ? "held" : "on") : "", pressed: isPlaying }];
  });
  const repeat = ["*", { label: "Repeat", words: state.repeats ? "on: taps repeat" : "off: taps play once", picture: state.repeats ? "check" : "repeat", look: state.repeats ? "on" : "", pressed: state.repeats }];
  motions.draw(all.length ? [repeat, ...all] : [], pressMotion);
  $("no-motions").hidden = all.length > 0;
}

function drawCharacters() {
  characters.draw(
    state.characters.map((one) => {
      const isHere = one.id === state.character?.id;
      return [one.id, { label: one.name, words: isHere ? "on stage" : "", picture: faceOf(one.name, one.avatar_url), look: isHere ? "on" : "", pressed: isHere }];
    }),
    tried(async (id) => {
      if (id !== state.character?.id) await luma.post("/api/switch_character", { character_id: id, conversation_id: STAGE });
    }),
  );
}

function drawModes() {
  $("modes-section").hidden = !state.mode;
  if (!state.mode) return;
  modes.draw(
    state.mode.modes.map((one) => {
      const isNow = one.mode === state.mode.mode;
      const isChosen = one.mode === state.mode.chosen;
      const [label, picture] = MODES[one.mode] ?? [one.mode, "star"];
      const words = isNow
        ? isChosen ? "answers now" : `stands in: ${state.mode.reason}`
        : isChosen ? `chosen, resting: ${one.detail}` : one.is_available ? one.detail : `not set up: ${one.detail}`;
      return [one.mode, { label, words, picture: isNow ? "check" : picture, look: isNow ? "on" : isChosen || !one.is_available ? "poor" : "", pressed: isNow }];
    }),
    async (mode) => {
      state.mode = await luma.put("/api/mode", { mode, by: "control panel" });
      drawModes();
    },
  );
}

function drawModules() {
  modules.draw(
    state.modules.filter((one) => one.name in MODULES).map((one) => {
      const [label, picture] = MODULES[one.name];
      const words = !one.enabled ? "switched off" : one.state === "ready" ? "on" : one.error || one.state;
      return [one.name, { label, words, picture, look: !one.enabled ? "off" : one.state === "ready" ? "on" : "on poor", pressed: one.enabled, title: one.fix || one.detail }];
    }),
    async (name) => {
      const now = state.modules.find((one) => one.name === name);
      noteModule(await luma.post(`/api/modules/${encodeURIComponent(name)}`, { enabled: !now.enabled }));
    },
  );
}

function noteModule(service) {
  state.modules = state.modules.map((one) => (one.name === service.name ? service : one));
  drawModules();
}

function drawPanic() {
  const { is_on: isOn, by } = state.panic;
  document.body.classList.toggle("stopped", isOn);
  $("panic").className = isOn ? "resume" : "";
  setButton($("panic"), isOn ? "resume" : "panic", isOn ? "Resume" : "Panic");
  $("panic-words").hidden = !isOn;
  $("panic-words").textContent = isOn ? `Everything is stopped (by ${by}): no voice, no microphone, no answers.` : "";
}

// --- pressing ---

async function press(id) {
  if (id === "stop") await stop();
  if (id === "mic") {
    state.listening = await luma.post("/api/audio/input", { muted: !state.listening.muted });
    drawActs();
  }
  if (id === "voice") {
    state.output = await luma.post("/api/audio/output", { muted: !state.output.muted });
    drawActs();
  }
}

const stop = () => luma.post(`/api/conversations/${STAGE}/interrupt`);

async function pressFace(name) {
  const isHeld = OPERATOR.includes(state.shown?.owner) && state.shown.until === null;
  if (name === "*" || (isHeld && state.shown.expression === name)) {
    state.shown = await luma.post("/api/avatar/release", { owner: OPERATOR, kind: "expression" });
  } else {
    state.shown = await luma.post("/api/expression", { expression_id: name, duration: 0, priority: HOLD_PRIORITY });
  }
  drawHead();
  drawFaces();
}

async function pressMotion(name) {
  if (name === "*") {
    state.repeats = !state.repeats;
    return drawMotions();
  }
  const playing = state.shown?.motion;
  if (playing?.name === name && playing.loop) {
    state.shown = await luma.post("/api/avatar/release", { kind: "motion", name });
  } else {
    state.shown = await luma.post("/api/motion", { motion: name, loop: state.repeats, priority: HOLD_PRIORITY });
  }
  drawHead();
  drawMotions();
}

const talk = new Big("talk", null);
$("talk-row").append(talk.element);
let holds = false;
async function hold(down) {
  if (down === holds) return;
  holds = down;
  state.listening = await luma.post("/api/listening/talk", { down });
  drawActs();
}
talk.element.addEventListener("pointerdown", (event) => {
  talk.element.setPointerCapture(event.pointerId);
  hold(true).catch(failed);
});
for (const kind of ["pointerup", "pointercancel", "lostpointercapture", "blur"]) talk.element.addEventListener(kind, () => hold(false).catch(failed));
talk.element.addEventListener("contextmenu", (event) => event.preventDefault());
talk.element.addEventListener("keydown", (event) => (event.key === " " || event.key === "Enter") && !event.repeat && hold(true).catch(failed));
talk.element.addEventListener("keyup", (event) => (event.key === " " || event.key === "Enter") && hold(false).catch(failed));

// The volume is sent while it is dragged, one request at a time; the last value always arrives.
let dragging = false;
let wanted = null;
let isSending = false;

async function sendVolume() {
  if (isSending) return;
  isSending = true;
  try {
    while (wanted !== null) {
      const volume = wanted;
      wanted = null;
      state.output = await luma.post("/api/audio/output", { volume });
    }
  } finally {
    isSending = false;
    drawActs();
  }
}

function setVolume(percent) {
  wanted = Math.min(100, Math.max(0, percent)) / 100;
  if (state.output) state.output.volume = wanted;
  drawActs();
  sendVolume().catch(failed);
}

$("volume").addEventListener("pointerdown", () => (dragging = true));
for (const kind of ["pointerup", "pointercancel", "change"]) $("volume").addEventListener(kind, () => (dragging = false));
$("volume").addEventListener("input", () => setVolume(Number($("volume").value)));
$("quieter").addEventListener("click", () => setVolume(Number($("volume").value) - 5));
$("louder").addEventListener("click", () => setVolume(Number($("volume").value) + 5));

async function togglePanic() {
  state.panic = await luma.post(state.panic.is_on ? "/api/resume" : "/api/panic", { by: "control panel" });
  draw();
}

$("panic").prepend(icon("panic"));
$("panic").addEventListener("click", tried(togglePanic));
panicKey(tried(async () => state.panic.is_on || (await togglePanic())));
addEventListener("keydown", (event) => {
  if (event.key === "Escape") stop().catch(failed);
});

// --- a tablet that stays awake ---

let lock = null;

async function stayAwake() {
  try {
    lock = await navigator.wakeLock.request("screen");
    lock.addEventListener("release", drawAwake);
  } catch {
    lock = null; // low battery, or hidden: tried again when the page is seen
  }
  drawAwake();
}

function drawAwake() {
  const isWanted = localStorage.getItem("luma.awake") === "1";
  $("awake").setAttribute("aria-pressed", String(isWanted));
  setButton($("awake"), isWanted ? "check" : "star", isWanted ? "Stays awake" : "Keep awake");
}

if ("wakeLock" in navigator) {
  $("awake").hidden = false;
  $("awake").prepend(icon("star"));
  $("awake").addEventListener("click", async () => {
    const isWanted = localStorage.getItem("luma.awake") !== "1";
    localStorage.setItem("luma.awake", isWanted ? "1" : "0");
    if (isWanted) await stayAwake();
    else await lock?.release();
    drawAwake();
  });
  document.addEventListener("visibilitychange", () => {
    if (document.visibilityState === "visible" && localStorage.getItem("luma.awake") === "1") stayAwake();
  });
  if (localStorage.getItem("luma.awake") === "1") stayAwake();
  drawAwake();
}

// --- what is so ---

async function readAll() {
  try {
    const [stage, now, listening, output, found, mode, panic, list] = await Promise.all([
      luma.get(`/api/conversations/${STAGE}`),
      luma.get(`/api/conversations/${STAGE}/now`),
      luma.get("/api/listening"),
      luma.get("/api/audio/output"),
      luma.get("/api/modules"),
      luma.get("/api/mode"),
      luma.get("/api/panic"),
      luma.get("/api/characters"),
    ]);
    Object.assign(state, { listening, output, modules: found, mode, panic, characters: list, turn: now.turn_id, isSpeaking: false });
    await becomeCharacter(stage.character_id);
    document.documentElement.dataset.ready = "1";
  } catch (error) {
    if (noteFailure(luma, error)) return;
    throw error; // the connection is made again, and all of this with it
  }
}

async function becomeCharacter(id) {
  const shown = await luma.get(`/api/avatar/state?character_id=${encodeURIComponent(id)}`);
  const rig = shown.rig ? await luma.get(`/api/rigs/${encodeURIComponent(shown.rig)}`).catch(() => null) : null;
  state.character = state.characters.find((one) => one.id === id) ?? null;
  state.shown = shown;
  state.rig = rig;
  draw();
}

luma.onReady(readAll);
followConnection(luma, $("banner"));

luma.on("avatar.changed", ({ data }) => {
  if (data.character_id !== state.character?.id || !data.shown) return;
  if (data.shown.rig && data.shown.rig !== state.shown?.rig) return void becomeCharacter(data.character_id).catch(failed);
  state.shown = data.shown;
  drawHead();
  drawFaces();
  drawMotions();
});
luma.on("character.switched", tried(async ({ data }) => {
  if (data.conversation_id === STAGE) await becomeCharacter(data.character_id);
}));
luma.on("character.changed", tried(async () => {
  state.characters = await luma.get("/api/characters");
  if (state.character) await becomeCharacter(state.character.id);
}));
luma.on("listening.changed", ({ data }) => {
  state.listening = data.listening;
  drawActs();
});
luma.on("config.changed", tried(async ({ data }) => {
  if (!data.names.some((name) => /^(AUDIO|OUTPUT)_/.test(name)) || isSending) return;
  state.output = await luma.get("/api/audio/output");
  drawActs();
}));
luma.on("service.changed", ({ data }) => noteModule(data.service));
luma.on("mode.changed", tried(async () => {
  state.mode = await luma.get("/api/mode");
  drawModes();
}));
luma.on("panic.changed", ({ data }) => {
  state.panic = data.panic;
  draw();
});
luma.on("turn.started", ({ data, turn_id: turn }) => data.conversation_id === STAGE && live({ turn }));
luma.on("turn.finished", ({ data }) => data.conversation_id === STAGE && live({ turn: null, isSpeaking: false }));
luma.on("playback.started", ({ data }) => data.conversation_id === STAGE && live({ isSpeaking: true }));
luma.on("playback.finished", ({ data }) => data.conversation_id === STAGE && live({ isSpeaking: false }));

function live(changes) {
  Object.assign(state, changes);
  drawHead();
  drawActs();
}

luma.start();
