// The chat page: conversations, messages as they are written and heard, voice in and out.
//
// What is stored comes by REST, what happens by the socket; at every connection all of it is read again, so nothing that was
// missed is lost. The stage is heard where its setting says; a conversation of one's own is played here.

import { Luma } from "./luma.js";
import { LumaError, action, el, faceOf, followConnection, icon, noteFailure, panicKey, setButton, strip } from "./webui.js";
import { TurnView } from "./chat_turns.js";
import { Voice, heardChars } from "./chat_voice.js";
import { Mic } from "./chat_mic.js";

const STAGE = "stage";
const MOST_CHARS = 8000; // as the backend takes; held by a test
const COUNT_FROM = 7000;
const PAGE_TURNS = 30;
const UNDO_MS = 7000;
const TURN_EVENTS = ["chat.message", "turn.started", "chat.sentence", "speech.ready", "playback.started", "turn.retried", "error.occurred"];

const $ = (id) => document.getElementById(id);
const luma = new Luma({
  types: ["chat.*", "turn.*", "utterance.*", "speech.ready", "playback.*", "avatar.*", "character.*", "conversation.*", "error.occurred", "panic.changed", "config.changed", "listening.changed"],
});

const state = {
  conversations: new Map(),
  characters: new Map(),
  here: STAGE,
  turns: new Map(), // turn_id -> TurnView, of the conversation that is shown
  mine: new Set(), // turns that began while this page looked: their sounds are played
  oldest: null,
  output: null,
  panic: { is_on: false },
  leaving: new Map(), // conversations that are about to be deleted -> timer
  unread: 0,
  round: 0,
};

// --- small things ---

const say = (words) => {
  $("spoken").append(el("p", {}, words));
  while ($("spoken").childElementCount > 4) $("spoken").firstElementChild.remove();
};

function notice(kind, words, { forMs = 0, actions = [] } = {}) {
  for (const shown of $("strips").children) if (shown.dataset.words === words) shown.remove();
  const close = el("button", { class: "button", type: "button", "aria-label": "Dismiss" }, icon("close"));
  const made = strip(kind, words, ...actions, close);
  made.dataset.words = words;
  close.addEventListener("click", () => made.remove());
  $("strips").append(made);
  while ($("strips").childElementCount > 3) $("strips").firstElementChild.remove();
  if (forMs) setTimeout(() => made.remove(), forMs);
  return made;
}

function failed(error) {
  if (noteFailure(luma, error)) return;
  notice("error", error.message);
}

const tried = (work) => (...given) => Promise.resolve(work(...given)).catch(failed);

const character = () => state.characters.get(state.conversations.get(state.here)?.character_id);

const titleOf = (conversation) => {
  if (conversation.id === STAGE) return "On stage";
  if (conversation.title) return conversation.title;
  const at = new Date(conversation.created_at).toLocaleString([], { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit" });
  return `Conversation of ${at}`;
};

// --- voice out ---

const voice = new Voice(
  async (url) => (await luma.request("GET", url, undefined, { raw: true })).arrayBuffer(),
  {
    position(turn, n, chars) {
      const view = state.turns.get(turn);
      view?.heard(n, chars);
      view?.speaks(n);
      update();
    },
    ended(turn, isCut) {
      const view = state.turns.get(turn);
      if (view?.isOver) {
        if (!isCut) view.allHeard();
        view.say(isCut ? "stopped · dim words were not heard" : "");
      }
      update();
    },
    blocked() {
      notice("warn", "The browser plays no sound before you have done something on this page.", {
        actions: [action("Play", () => voice.unlock(), "play")],
      });
    },
    problem(words) {
      notice("warn", words);
    },
  },
);
voice.isMuted = localStorage.getItem("luma.muted") === "1";

for (const kind of ["pointerdown", "keydown"]) addEventListener(kind, () => voice.unlock(), { capture: true });

// --- the microphone ---

const mic = new Mic(luma, {
  changed: drawMic,
  level(peak) {
    const db = 20 * Math.log10(Math.max(peak, 0.001));
    $("level").value = Math.max(0, 1 + db / 60);
  },
  problem(words) {
    notice("warn", words);
  },
  outcome(answer) {
    if (answer.turn_id === null && answer.detail) notAnswered(answer.detail);
  },
});

const notAnswered = (why) => notice("calm", `Not answered: ${why}`, { forMs: 9000 });

function drawMic() {
  const isOpen = mic.mode === "open";
  $("talk").classList.toggle("held", mic.mode === "held");
  $("talk").setAttribute("aria-pressed", String(mic.mode === "held"));
  $("talk").disabled = isOpen || state.panic.is_on;
  setButton($("talk"), "mic", mic.mode === "held" ? (mic.isListening ? "Listening" : "One moment") : "Hold to talk");
  $("open-mic").setAttribute("aria-pressed", String(isOpen));
  $("open-mic").disabled = state.panic.is_on;
  const isStopped = isOpen && state.panic.is_on;
  const words = isStopped ? "Mic is stopped" : mic.isListening ? "Mic is open" : "One moment";
  setButton($("open-mic"), isStopped ? "mic-off" : isOpen ? "check" : "ear", isOpen ? words : "Open mic");
  $("level").hidden = mic.mode === "off" || state.panic.is_on;
}

const press = () => !state.panic.is_on && mic.press(state.here).catch(failed);
const release = () => mic.release().catch(failed);

$("talk").addEventListener("pointerdown", (event) => {
  if (event.button !== 0) return;
  $("talk").setPointerCapture(event.pointerId);
  press();
});
for (const kind of ["pointerup", "pointercancel", "lostpointercapture"]) $("talk").addEventListener(kind, release);
$("talk").addEventListener("contextmenu", (event) => event.preventDefault());
$("talk").addEventListener("keydown", (event) => {
  if ((event.key === " " || event.key === "Enter") && !event.repeat) press();
  if (event.key === " ") event.preventDefault();
});
$("talk").addEventListener("keyup", (event) => (event.key === " " || event.key === "Enter") && release());
$("talk").addEventListener("blur", release);
addEventListener("keydown", (event) => {
  if (event.code === "Space" && event.ctrlKey && !event.repeat) {
    event.preventDefault();
    press();
  }
});
addEventListener("keyup", (event) => (event.code === "Space" || event.key === "Control") && document.activeElement !== $("talk") && release());
addEventListener("blur", release);
$("open-mic").addEventListener("click", tried(() => (mic.mode === "open" ? mic.off() : mic.open(state.here))));

// --- conversations ---

function drawConversations() {
  const wanted = $("find").value.trim().toLowerCase();
  $("find").hidden = state.conversations.size < 12 && !wanted;
  const shown = [...state.conversations.values()].filter(
    (one) => !state.leaving.has(one.id) && (!wanted || one.id === STAGE || titleOf(one).toLowerCase().includes(wanted)),
  );
  const focused = document.activeElement?.closest?.(".conversation")?.dataset.id;
  if (document.activeElement?.tagName === "INPUT" && focused) return; // being renamed
  $("conversations").replaceChildren(...shown.map(conversationRow));
  if (focused) $("conversations").querySelector(`[data-id="${CSS.escape(focused)}"] .open`)?.focus();
}

function conversationRow(conversation) {
  const isHere = conversation.id === state.here;
  const who = state.characters.get(conversation.character_id)?.name ?? conversation.character_id;
  const turns = conversation.turns === 1 ? "1 turn" : `${conversation.turns} turns`;
  const open = el(
    "button",
    { class: "open", type: "button", "aria-current": isHere ? "page" : null },
    el("span", { class: "title", dir: "auto" }, titleOf(conversation)),
    el("span", { class: "more" }, `${who} · ${turns}`),
  );
  open.addEventListener("click", () => show(conversation.id).catch(failed));
  const isStage = conversation.id === STAGE;
  const remove = el("button", { class: "button quiet square", type: "button", "aria-label": isStage ? "Forget what was said on stage" : `Delete ${titleOf(conversation)}`, title: isStage ? "Forget what was said" : "Delete" }, icon("bin"));
  remove.addEventListener("click", () => leave(conversation));
  const rename = el("button", { class: "button quiet square", type: "button", "aria-label": `Rename ${titleOf(conversation)}`, title: "Rename" }, icon("pen"));
  const row = el(
    "li",
    { class: isHere ? "conversation here" : "conversation", dataset: { id: conversation.id } },
    open,
    el("span", { class: "tools" }, isStage ? null : rename, remove),
  );
  rename.addEventListener("click", () => beginRename(row, conversation));
  return row;
}

function beginRename(row, conversation) {
  const field = el("input", { type: "text", maxlength: 200, "aria-label": "Title" });
  field.value = conversation.title;
  let isOver = false;
  const end = async (isWanted) => {
    if (isOver) return;
    isOver = true;
    const title = field.value.trim();
    row.replaceWith(conversationRow(conversation));
    if (isWanted && title !== conversation.title) {
      state.conversations.set(conversation.id, await luma.patch(`/api/conversations/${encodeURIComponent(conversation.id)}`, { title }));
    }
    drawConversations();
    $("conversations").querySelector(`[data-id="${CSS.escape(conversation.id)}"] .open`)?.focus();
  };
  field.addEventListener("keydown", (event) => {
    event.stopPropagation();
    if (event.key === "Enter") end(true).catch(failed);
    if (event.key === "Escape") end(false).catch(failed);
  });
  field.addEventListener("blur", () => end(true).catch(failed));
  row.replaceChildren(field);
  field.focus();
  field.select();
}

/** Delete a conversation, or clear the stage; not before there was time to take it back. */
function leave(conversation) {
  const isStage = conversation.id === STAGE;
  const path = `/api/conversations/${encodeURIComponent(conversation.id)}`;
  const words = isStage ? "What was said on stage is being forgotten." : `“${titleOf(conversation)}” is being deleted.`;
  const shown = notice("calm", words, {
    forMs: UNDO_MS,
    actions: [
      action("Undo", () => {
        clearTimeout(state.leaving.get(conversation.id));
        state.leaving.delete(conversation.id);
        shown.remove();
        drawConversations();
      }),
    ],
  });
  clearTimeout(state.leaving.get(conversation.id));
  const timer = setTimeout(
    tried(async () => {
      state.leaving.delete(conversation.id);
      await (isStage ? luma.post(`${path}/clear`) : luma.delete(path));
    }),
    UNDO_MS,
  );
  if (isStage) return void state.leaving.delete(STAGE);
  state.leaving.set(conversation.id, timer);
  if (conversation.id === state.here) show(STAGE).catch(failed);
  drawConversations();
}

async function begin() {
  const from = document.activeElement;
  const made = await luma.post("/api/conversations", { character_id: state.conversations.get(state.here)?.character_id ?? null });
  state.conversations.set(made.id, made);
  const shown = show(made.id);
  // Who has gone on to something else meanwhile, as to the key to talk, is not called back from there.
  if ([from, document.body, $("open-side")].includes(document.activeElement)) $("message").focus();
  await shown;
}

async function show(id) {
  if (!state.conversations.has(id)) id = STAGE;
  closeSide();
  if (id !== state.here) {
    keepDraft();
    stopHere();
    state.here = id;
    history.replaceState(null, "", id === STAGE ? location.pathname : `#${encodeURIComponent(id)}`);
    state.turns.clear();
    $("turns").replaceChildren();
    $("message").value = sessionStorage.getItem(`luma.draft.${id}`) ?? "";
    grown();
    await mic.again(id);
  }
  drawConversations();
  drawHeader();
  await readTurns();
}

/** What is played here stops; a conversation that is left does not go on talking. */
function stopHere() {
  const turn = voice.turn;
  const heard = voice.stop();
  if (turn === null) return null;
  return { turn, heard };
}

// --- turns ---

function viewOf(turnId, at) {
  let view = state.turns.get(turnId);
  if (!view) {
    view = new TurnView(turnId, {
      replay: tried(replay),
      say: (text) => {
        $("message").value = text;
        grown();
        $("message").focus();
      },
      copied: (isCopied) => say(isCopied ? "Copied" : "The browser does not let this page copy"),
    });
    view.setCharacter(character());
    view.startedAt = at;
    state.turns.set(turnId, view);
    const after = [...state.turns.values()].filter((other) => other !== view && other.startedAt > at);
    const next = after.sort((a, b) => (a.startedAt < b.startedAt ? -1 : 1))[0];
    if (next) next.element.before(view.element);
    else $("turns").append(view.element);
    $("empty").hidden = true;
  }
  return view;
}

async function replay(view) {
  if (state.here === STAGE) {
    await luma.post(`/api/turns/${encodeURIComponent(view.id)}/play`);
    return;
  }
  stopHere();
  for (const { n, text, url } of view.sounds) voice.say(view.id, n, text, url);
  voice.complete(view.id);
}

/** The stored turns and the ones under way, as they are now; what happens meanwhile comes behind them. */
async function readTurns() {
  const round = ++state.round;
  held ??= [];
  try {
    await readTurnsOf(round);
  } finally {
    if (round === state.round) {
      const events = held;
      held = null;
      for (const event of events) tell(event);
      if (events.length) update();
    }
  }
}

async function readTurnsOf(round) {
  const path = `/api/conversations/${encodeURIComponent(state.here)}`;
  const [turns, now] = await Promise.all([luma.get(`${path}/history?limit=${PAGE_TURNS}`), luma.get(`${path}/now`)]);
  const underWay = [now.turn_id, ...now.waiting].filter(Boolean);
  const query = TURN_EVENTS.map((type) => `type=${type}`).join("&");
  const events = await Promise.all(underWay.map((id) => luma.get(`/api/events?${query}&turn_id=${encodeURIComponent(id)}&after=0&limit=500`)));
  if (round !== state.round) return;
  const isAtEnd = isFollowing();
  const begun = new Set(held.filter(({ type }) => type === "chat.message").map(({ turn_id }) => turn_id));
  const isOld = (id) => !begun.has(id); // the others are told from their beginning
  for (const turn of turns) if (isOld(turn.id)) addStored(turn);
  for (const found of events) for (const event of found) if (isOld(event.turn_id)) tell({ ...event, replayed: true });
  const known = new Set([...turns.map((turn) => turn.id), ...underWay]);
  for (const [id, view] of state.turns) if (!known.has(id)) view.lost();
  state.oldest = turns.length === PAGE_TURNS ? turns[0].id : null;
  $("earlier").hidden = state.oldest === null;
  drawEmpty();
  update();
  if (isAtEnd) follow();
}

function addStored(turn) {
  const known = state.turns.get(turn.id);
  if (known?.isOver) return known;
  const isPlayed = voice.turn === turn.id;
  if (known && isPlayed) {
    known.remembered(turn.reply);
    known.finished(turn, { keepsDim: true });
    return known;
  }
  known?.element.remove();
  state.turns.delete(turn.id);
  const view = viewOf(turn.id, turn.started_at);
  view.stored(turn, state.characters.get(turn.character_id));
  return view;
}

async function readEarlier() {
  const path = `/api/conversations/${encodeURIComponent(state.here)}/history`;
  const turns = await luma.get(`${path}?limit=${PAGE_TURNS}&before=${encodeURIComponent(state.oldest)}`);
  const from = $("log").scrollHeight - $("log").scrollTop;
  for (const turn of turns) addStored(turn);
  $("log").scrollTop = $("log").scrollHeight - from;
  state.oldest = turns.length === PAGE_TURNS ? turns[0].id : null;
  $("earlier").hidden = state.oldest === null;
}

function drawEmpty() {
  const isEmpty = state.turns.size === 0;
  $("empty").hidden = !isEmpty;
  if (!isEmpty) return;
  const who = character();
  $("empty").replaceChildren(faceOf(who?.name ?? "?", who?.avatar_url), el("br"), `Say hello to ${who?.name ?? "the character"}.`);
}

let held = null; // events that wait until what is stored was read

function told(event) {
  if (held) held.push(event);
  else tell(event);
}

/** An event of a turn; the same for what happens and for what is read again. */
function tell(event) {
  const { type, data, turn_id: turnId } = event;
  // What an engine says of itself names the turn, not always the conversation.
  const isHere = data.conversation_id === state.here || (!data.conversation_id && state.turns.has(turnId));
  if (type === "turn.stage") {
    state.turns.get(turnId)?.stage(data.span);
    return;
  }
  if (type === "chat.notice") {
    // A typed command was done: it has no turn.
    if (isHere && !event.replayed) notice(data.is_refused ? "warn" : "calm", data.text, { forMs: 9000 });
    return;
  }
  if (!isHere || !turnId) return;
  const isStage = state.here === STAGE;
  const view = type === "chat.message" || type === "turn.started" ? viewOf(turnId, event.at) : state.turns.get(turnId);
  if (!view || (view.isOver && type !== "chat.response" && type !== "turn.finished" && !type.startsWith("playback."))) return;
  switch (type) {
    case "chat.message":
      view.setMessage({ author: data.author, text: data.text, at: event.at, origin: data.origin });
      view.waits("");
      if (!event.replayed) state.mine.add(turnId);
      if (!event.replayed && isWaitingForSilence) interruptForSpeech();
      break;
    case "chat.disposition":
      if (data.disposition === "queued") view.waits(data.reason);
      else if (data.disposition === "deleted") view.finished({ outcome: "skipped", spans: [], total_ms: 0 });
      break;
    case "turn.started":
      view.began(event.at);
      view.setCharacter(state.characters.get(data.character_id));
      break;
    case "chat.delta":
      view.delta(data.text);
      break;
    case "chat.sentence":
      view.sentence(data.n, data.text, data.emotion, false);
      if (!event.replayed) say(data.text);
      break;
    case "speech.ready":
      view.sound(data.n, data.url);
      if (!isStage && state.mine.has(turnId) && !heardAlready.has(`${turnId}/${data.n}`) && !state.panic.is_on) {
        heardAlready.add(`${turnId}/${data.n}`);
        voice.say(turnId, data.n, data.text, data.url);
      }
      break;
    case "playback.started":
      if (event.replayed) view.heard(data.n, 0);
      else view.speaks(data.n);
      playing.set(turnId, { n: data.n, text: data.text });
      break;
    case "playback.position": {
      const now = playing.get(turnId);
      if (now?.n === data.n) view.heard(data.n, heardChars(now.text, data.position_s, data.duration_s));
      break;
    }
    case "playback.finished":
      playing.delete(turnId);
      if (!data.interrupted) view.say("");
      break;
    case "turn.retried": {
      const what = data.engine === data.next_engine ? (data.wait_s ? `trying again in ${Math.ceil(data.wait_s)} s` : "trying again") : `${data.next_engine} takes over`;
      view.notice("warn", `${data.reason} ${capital(what)}. Not spoken.`);
      break;
    }
    case "error.occurred":
      view.notice("warn", `${data.reason} Not spoken.`);
      break;
    case "chat.response":
      view.remembered(data.text);
      view.setEmotion(data.emotion);
      break;
    case "turn.finished": {
      const isSounding = !isStage && voice.isPlaying && state.mine.has(turnId) && data.outcome !== "interrupted";
      view.finished(data, { keepsDim: isSounding });
      if (isSounding) voice.complete(turnId);
      countTurn();
      break;
    }
  }
}

const heardAlready = new Set();
const playing = new Map();
const capital = (words) => words[0].toUpperCase() + words.slice(1);

function countTurn() {
  const conversation = state.conversations.get(state.here);
  if (!conversation) return;
  conversation.turns += 1;
  const isUntitled = conversation.id !== STAGE && !conversation.title && !conversation.client_uid && conversation.turns <= 1;
  if (isUntitled) {
    const first = [...state.turns.values()][0]?.message ?? "";
    const title = first.replace(/\s+/g, " ").trim();
    if (title) {
      const short = title.length > 48 ? `${title.slice(0, 47).trimEnd()}…` : title;
      luma.patch(`/api/conversations/${encodeURIComponent(conversation.id)}`, { title: short }).catch(failed);
    }
  }
  drawConversations();
}

// --- speaking over a reply in a conversation of one's own: the stage does this by itself ---

let isWaitingForSilence = false;

function interruptForSpeech() {
  isWaitingForSilence = false;
  voice.isDucked = false;
  if (voice.isPlaying) stop().catch(failed);
}

function heardSomebody({ type, data }) {
  if (data.conversation_id !== state.here) return;
  if (data.origin !== undefined && data.origin !== "ws" && state.here !== STAGE) return;
  switch (type) {
    case "utterance.started":
      if (state.here !== STAGE && voice.isPlaying) {
        isWaitingForSilence = true;
        voice.isDucked = true;
      }
      break;
    case "utterance.partial":
      $("partial").textContent = `${data.text} …`;
      $("partial").hidden = false;
      if (isWaitingForSilence && data.text.trim()) interruptForSpeech();
      break;
    case "utterance.transcribed":
      $("partial").hidden = true;
      if (isWaitingForSilence) interruptForSpeech();
      break;
    case "utterance.dropped":
      $("partial").hidden = true;
      isWaitingForSilence = false;
      voice.isDucked = false;
      if (mic.mode === "open" && data.origin === "ws") notAnswered(data.detail || data.reason);
      break;
  }
}

// --- writing ---

function grown() {
  const length = [...$("message").value].length;
  $("count").hidden = length < COUNT_FROM;
  const isOver = length > MOST_CHARS;
  $("count").classList.toggle("over", isOver);
  $("count").textContent = isOver
    ? `${length.toLocaleString()} characters: ${(length - MOST_CHARS).toLocaleString()} too many, a message takes ${MOST_CHARS.toLocaleString()}`
    : `${length.toLocaleString()} of ${MOST_CHARS.toLocaleString()} characters`;
  update();
}

function keepDraft() {
  const key = `luma.draft.${state.here}`;
  if ($("message").value) sessionStorage.setItem(key, $("message").value);
  else sessionStorage.removeItem(key);
}

async function send() {
  const text = $("message").value.trim();
  if (!text || $("send").disabled) return;
  if (voice.isPlaying) await stop();
  $("send").dataset.busy = "1";
  update();
  try {
    await luma.command("chat", { message: text, conversation_id: state.here, origin: "page" });
    if ($("message").value.trim() === text) $("message").value = "";
    keepDraft();
    follow();
  } finally {
    delete $("send").dataset.busy;
    grown();
  }
}

async function stop() {
  const played = stopHere();
  const isRunning = [...state.turns.values()].some((view) => !view.isOver);
  if (!isRunning && state.here !== STAGE) return;
  const isOfIt = played && !state.turns.get(played.turn)?.isOver;
  await luma.command("interrupt", { conversation_id: state.here, ...(isOfIt ? { heard: played.heard } : {}) });
}

function update() {
  const isConnected = luma.state === "open";
  const text = $("message").value;
  const isOver = [...text].length > MOST_CHARS;
  $("send").disabled = !isConnected || !text.trim() || isOver || state.panic.is_on || "busy" in $("send").dataset;
  const isLive = voice.isPlaying || playing.size > 0 || [...state.turns.values()].some((view) => !view.isOver);
  $("stop").disabled = !isLive;
}

$("composer").addEventListener("submit", (event) => {
  event.preventDefault();
  send().catch(failed);
});
$("message").addEventListener("input", () => {
  grown();
  keepDraft();
});
$("message").addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  send().catch(failed);
});
$("stop").addEventListener("click", tried(stop));
addEventListener("keydown", (event) => {
  if (event.key !== "Escape" || event.defaultPrevented) return;
  if ($("side").classList.contains("shown")) closeSide();
  else if (!$("stop").disabled) stop().catch(failed);
});

// --- following the end ---

const isFollowing = () => $("log").scrollHeight - $("log").scrollTop - $("log").clientHeight < 80;
let wasFollowing = true;

function follow() {
  $("log").scrollTop = $("log").scrollHeight;
  state.unread = 0;
  $("newest").hidden = true;
  wasFollowing = true;
}

$("log").addEventListener("scroll", () => {
  wasFollowing = isFollowing();
  if (wasFollowing) {
    state.unread = 0;
    $("newest").hidden = true;
  }
});
$("newest").addEventListener("click", follow);
new ResizeObserver(() => wasFollowing && follow()).observe($("turns"));
new ResizeObserver(() => {
  if (wasFollowing) follow();
  $("newest").style.bottom = `${document.querySelector("footer").offsetHeight + 8}px`;
}).observe(document.querySelector("footer"));

function noteNew() {
  if (wasFollowing) return;
  state.unread += 1;
  $("newest").replaceChildren(icon("down"), `${state.unread} new`);
  $("newest").hidden = false;
}

// --- header ---

function drawHeader() {
  const who = character();
  $("face").replaceChildren(faceOf(who?.name ?? "?", who?.avatar_url));
  const options = [...state.characters.values()].map((one) => {
    const option = el("option", { value: one.id }, one.name);
    option.selected = one.id === who?.id;
    return option;
  });
  $("character").replaceChildren(...options);
  $("message").placeholder = who ? `Write to ${who.name}` : "Write a message";
  document.title = `${who?.name ?? "Luma"}: ${titleOf(state.conversations.get(state.here) ?? { id: STAGE })}`;
  drawSound();
  readExpression().catch(failed);
}

async function readExpression() {
  const who = character();
  if (!who) return;
  const shown = await luma.get(`/api/avatar/state?character_id=${encodeURIComponent(who.id)}`);
  drawExpression(shown.expression);
}

function drawExpression(expression) {
  $("expression").textContent = expression;
  $("expression").hidden = !expression || expression === "neutral";
}

function drawSound() {
  if (state.here !== STAGE) {
    setButton($("sound"), voice.isMuted ? "sound-off" : "sound", voice.isMuted ? "This page is silent" : "Heard on this page");
    $("sound").setAttribute("aria-pressed", String(voice.isMuted));
    $("sound").title = voice.isMuted ? "Let this page be heard" : "Silence this page";
    return;
  }
  const out = state.output;
  const where = !out
    ? "Stage"
    : out.muted
      ? "Stage is muted"
      : { speaker: `Heard on ${out.device || "the loudspeaker"}`, overlay: "Heard on the overlay", none: "Not heard: AUDIO_SINK is none" }[out.sink] ?? `Heard on ${out.sink}`;
  setButton($("sound"), !out || out.muted || out.sink === "none" ? "sound-off" : "sound", where);
  $("sound").setAttribute("aria-pressed", String(out?.muted ?? false));
  $("sound").title = out?.problem || (out?.muted ? "Unmute the stage" : "Mute the stage");
}

$("sound").addEventListener(
  "click",
  tried(async () => {
    if (state.here === STAGE) {
      state.output = await luma.post("/api/audio/output", { muted: !state.output?.muted });
    } else {
      voice.isMuted = !voice.isMuted;
      localStorage.setItem("luma.muted", voice.isMuted ? "1" : "0");
    }
    drawSound();
  }),
);

$("character").addEventListener(
  "change",
  tried(async () => {
    const wanted = $("character").value;
    stopHere();
    try {
      await luma.post("/api/switch_character", { character_id: wanted, conversation_id: state.here });
      state.conversations.get(state.here).character_id = wanted;
    } finally {
      drawHeader();
      drawConversations();
      drawEmpty();
    }
  }),
);

// --- panic ---

async function togglePanic() {
  stopHere();
  if (mic.mode === "held") await mic.off();
  drawPanic(await luma.post(state.panic.is_on ? "/api/resume" : "/api/panic", { by: "chat page" }));
}

function drawPanic(panic) {
  state.panic = panic;
  if (panic.is_on) stopHere();
  $("panic").classList.toggle("danger", !panic.is_on);
  $("panic").classList.toggle("primary", panic.is_on);
  setButton($("panic"), panic.is_on ? "resume" : "panic", panic.is_on ? "Resume" : "Panic");
  $("panic-banner").hidden = !panic.is_on;
  $("panic-banner").textContent = panic.is_on ? `Everything is stopped (by ${panic.by}): no voice, no microphone, no answers. Press Resume to go on.` : "";
  drawMic();
  update();
}

$("panic").addEventListener("click", tried(togglePanic));
panicKey(tried(async () => state.panic.is_on || (await togglePanic())));

// --- the list on a phone ---

function openSide() {
  $("side").classList.add("shown");
  $("shade").hidden = false;
  $("open-side").setAttribute("aria-expanded", "true");
  ($("conversations").querySelector(".here .open") ?? $("new")).focus();
}

function closeSide() {
  if (!$("side").classList.contains("shown")) return;
  $("side").classList.remove("shown");
  $("shade").hidden = true;
  $("open-side").setAttribute("aria-expanded", "false");
  $("open-side").focus();
}

$("open-side").append(icon("menu"));
$("close-side").append(icon("close"));
$("open-side").addEventListener("click", openSide);
$("close-side").addEventListener("click", closeSide);
$("shade").addEventListener("click", closeSide);
$("new").prepend(icon("plus"));
$("new").addEventListener("click", tried(begin));
$("find").addEventListener("input", drawConversations);
$("earlier").addEventListener("click", tried(readEarlier));
for (const [id, name] of [["sound", "sound"], ["panic", "panic"], ["talk", "mic"], ["open-mic", "ear"], ["stop", "stop"], ["send", "send"]]) $(id).prepend(icon(name));

// --- all together ---

async function readConversations() {
  const found = await luma.get("/api/conversations");
  state.conversations = new Map(found.map((one) => [one.id, one]));
  if (!state.conversations.has(state.here)) await show(STAGE);
  drawConversations();
}

async function readAll() {
  try {
    const [characters, conversations, output, panic] = await Promise.all([
      luma.get("/api/characters"),
      luma.get("/api/conversations"),
      luma.get("/api/audio/output"),
      luma.get("/api/panic"),
    ]);
    state.characters = new Map(characters.map((one) => [one.id, one]));
    state.conversations = new Map(conversations.map((one) => [one.id, one]));
    state.output = output;
    drawPanic(panic);
    if (!state.conversations.has(state.here)) state.here = STAGE;
    drawConversations();
    drawHeader();
    await readTurns();
    await mic.again(state.here);
    grown();
    document.documentElement.dataset.ready = "1";
  } catch (error) {
    if (noteFailure(luma, error)) return;
    throw error; // the connection is made again, and all of this with it
  }
}

state.here = decodeURIComponent(location.hash.slice(1)) || STAGE;
$("message").value = sessionStorage.getItem(`luma.draft.${state.here}`) ?? "";

luma.onReady(readAll);
followConnection(luma, $("banner"));
luma.onState(update);

for (const group of ["chat.*", "turn.*", "speech.ready", "playback.*", "error.occurred"]) luma.on(group, told);
luma.on("chat.message", ({ data }) => data.conversation_id === state.here && noteNew());
luma.on("utterance.*", heardSomebody);
luma.on("playback.*", update);
luma.on("turn.*", update);
luma.onFault((error) => {
  if (error.code.startsWith("listen.") && mic.isListening) mic.off().catch(failed);
  failed(error);
});
luma.on("panic.changed", ({ data }) => drawPanic(data.panic));
luma.on("avatar.changed", ({ data }) => data.character_id === character()?.id && drawExpression(data.expression));
luma.on("character.switched", ({ data }) => {
  const conversation = state.conversations.get(data.conversation_id);
  if (conversation) conversation.character_id = data.character_id;
  drawConversations();
  if (data.conversation_id === state.here) {
    drawHeader();
    drawEmpty();
  }
});
luma.on("character.changed", tried(async () => {
  state.characters = new Map((await luma.get("/api/characters")).map((one) => [one.id, one]));
  drawHeader();
}));
luma.on("conversation.changed", tried(async ({ data }) => {
  if (data.change === "cleared" && data.conversation_id === state.here) {
    stopHere();
    state.turns.clear();
    $("turns").replaceChildren();
    drawEmpty();
  }
  await readConversations();
}));
luma.on("config.changed", tried(async ({ data }) => {
  if (!data.names.some((name) => /^(AUDIO|OUTPUT)_/.test(name))) return;
  state.output = await luma.get("/api/audio/output");
  drawSound();
}));
// Where there is room, the stage is seen as well; it is never heard here.
if (matchMedia("(min-width: 1100px) and (min-height: 640px)").matches) {
  const { Stage } = await import("./avatar/stage.js");
  const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
  $("stage-box").hidden = false;
  new Stage(luma, $("stage"), { plays: false, calm });
}

addEventListener("hashchange", () => show(decodeURIComponent(location.hash.slice(1)) || STAGE).catch(failed));

luma.start();
