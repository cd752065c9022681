// One turn on the page: what was said, the reply as it is written and heard, how long each stage took, and what went wrong.
//
// Bright words were heard, dim ones are still to come. Everything that comes from outside is set as text.

import { action, el, faceOf, icon, seconds, strip, timeOf } from "./webui.js";

const STAGES = { wait: "Waiting", stt: "Speech to text", prompt: "Prompt", llm: "Language model", tts: "Voice", playback: "Playback" };
const BAR_MS = 1500; // as long as the whole bar, unless the turn took longer
const LONG_CHARS = 900;
const CUES = /\[[^\][]{0,60}\]?|<[^<>]{0,60}>?|\*[^*\n]{0,80}\*/g;

/** Sentences as one text: no space after Japanese and Chinese marks. */
export const joined = (texts) => texts.reduce((all, text) => all + (all && !/[。！？｡、，；：…]$/.test(all) ? " " : "") + text, "");

export class TurnView {
  #actions;
  #sentences = new Map(); // n -> {text, heard, element, bright, dim, url}
  #raw = "";
  #spans = [];
  #isOver = false;
  #message = "";
  #reply = "";

  /** `actions` has replay(view), say(text), copied(). */
  constructor(id, actions) {
    this.id = id;
    this.#actions = actions;
    this.you = el("div", { class: "message you" });
    this.emotion = el("span", { class: "chip emotion", hidden: true });
    this.who = el("span", { class: "who" });
    this.at = el("time", {});
    this.picture = el("span", { class: "face", "aria-hidden": "true" });
    this.text = el("p", { class: "said", dir: "auto" });
    this.tail = el("span", { class: "tail" });
    this.caret = el("span", { class: "caret", "aria-hidden": "true" });
    this.status = el("p", { class: "status", hidden: true });
    this.strips = el("div", { class: "strips" });
    this.foot = el("div", { class: "foot", hidden: true });
    this.them = el(
      "div",
      { class: "message them" },
      this.picture,
      el("div", { class: "body" }, el("div", { class: "head" }, this.who, this.at, this.emotion), this.text, this.status, this.foot, this.strips),
    );
    this.element = el("article", { class: "turn", dataset: { turn: id } }, this.you, this.them);
    this.text.append(this.tail, this.caret);
  }

  get isOver() {
    return this.#isOver;
  }

  get message() {
    return this.#message;
  }

  get reply() {
    return this.#reply || joined([...this.#sentences.values()].map(({ text }) => text));
  }

  // --- what was said ---

  setMessage({ author, text, at, origin }) {
    this.#message = text;
    this.startedAt ??= at;
    const said = el("p", { class: "said", dir: "auto" }, text);
    const body = el(
      "div",
      { class: "body" },
      el("div", { class: "head" }, el("span", { class: "who" }, author), el("time", { datetime: at }, timeOf(at)), originOf(origin)),
      said,
    );
    if (text.length > LONG_CHARS) {
      said.classList.add("long");
      const more = action("Show all of it", () => {
        const isShort = said.classList.toggle("long");
        more.textContent = isShort ? "Show all of it" : "Show less";
        more.setAttribute("aria-expanded", String(!isShort));
      });
      more.setAttribute("aria-expanded", "false");
      more.classList.add("quiet");
      body.append(more);
    }
    this.you.replaceChildren(faceOf(author, ""), body);
  }

  setCharacter(character) {
    this.who.textContent = character?.name ?? "";
    const face = faceOf(character?.name ?? "?", character?.avatar_url ?? "");
    this.picture.replaceWith(face);
    this.picture = face;
  }

  // --- the reply while it is made ---

  began(at) {
    this.at.textContent = timeOf(at);
    this.at.dateTime = at;
    this.say("thinking");
    this.element.classList.add("live");
  }

  waits(reason) {
    this.say(reason ? `waiting: ${reason}` : "waiting");
  }

  delta(text) {
    this.#raw += text;
    this.#showTail();
  }

  sentence(n, text, emotion, isHeard) {
    const known = this.#sentences.get(n);
    if (known) {
      if (isHeard) this.heard(n, text.length);
      return;
    }
    const bright = el("span", { class: "bright" });
    const dim = el("span", { class: "dim" }, text);
    const element = el("span", { class: "sentence" }, bright, dim);
    const before = [...this.#sentences.keys()].filter((other) => other < n).sort((a, b) => b - a)[0];
    const previous = before === undefined ? null : this.#sentences.get(before);
    if (previous) previous.element.after(joined([previous.text, ""]).endsWith(" ") ? " " : "", element);
    else this.text.prepend(element);
    this.#sentences.set(n, { text, heard: 0, element, bright, dim, url: null });
    if (isHeard) this.heard(n, text.length);
    this.#raw = after(this.#raw, text);
    this.#showTail();
    if (this.status.textContent === "thinking") this.say("");
    if (emotion) this.setEmotion(emotion);
  }

  setEmotion(emotion) {
    this.emotion.textContent = emotion;
    this.emotion.hidden = !emotion;
  }

  sound(n, url) {
    const sentence = this.#sentences.get(n);
    if (sentence) sentence.url = url;
  }

  get sounds() {
    return [...this.#sentences].filter(([, { url }]) => url).map(([n, { text, url }]) => ({ n, text, url }));
  }

  /** So many characters of a sentence were heard; those before it were heard whole. */
  heard(n, chars) {
    for (const [other, sentence] of this.#sentences) {
      if (other < n) brighten(sentence, sentence.text.length);
      else if (other === n) brighten(sentence, chars);
    }
  }

  /** Nothing more will be heard: what is written counts. */
  allHeard() {
    for (const sentence of this.#sentences.values()) brighten(sentence, sentence.text.length);
  }

  say(words) {
    this.status.textContent = words;
    this.status.hidden = !words;
  }

  speaks(n) {
    if (this.status.dataset.n === String(n)) return;
    this.status.dataset.n = String(n);
    this.say(`speaking sentence ${n} · bright words were heard, dim words are still to come`);
  }

  stage(span) {
    this.#spans.push(span);
    this.#drawTimes(null, false);
  }

  notice(kind, words, ...actions) {
    if ([...this.strips.children].some((child) => child.dataset.words === words)) return;
    const made = strip(kind, words, ...actions);
    made.dataset.words = words;
    this.strips.append(made);
  }

  // --- its end ---

  /** What is remembered of it: of an interrupted reply only what was heard. */
  remembered(text) {
    this.#reply = text;
  }

  finished({ outcome, spans, first_audio_ms, total_ms }, { keepsDim = false } = {}) {
    this.#isOver = true;
    this.#raw = "";
    this.#showTail();
    this.element.classList.remove("live");
    delete this.status.dataset.n;
    this.#spans = [...spans];
    if (outcome === "interrupted") {
      this.#markHeard(this.#reply);
      this.say(this.reply && this.#reply ? "stopped · dim words were not heard" : "stopped before anything was heard");
    } else if (outcome === "skipped") {
      this.say("not answered: it was taken back while it waited");
    } else if (!keepsDim) {
      this.allHeard();
      this.say("");
    }
    if (outcome === "failed" && !this.strips.childElementCount) this.notice("error", "No answer came. Status in Luma's window says which engine failed and why.");
    this.#drawTimes({ first_audio_ms, total_ms }, true);
  }

  /** Luma was stopped before it answered. */
  lost() {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#raw = "";
    this.#showTail();
    this.element.classList.remove("live");
    this.say("");
    const words = "Luma was stopped before this was answered.";
    this.notice("warn", words, action("Write it again", () => this.#actions.say(this.#message)));
  }

  /** A turn as it is stored. */
  stored(turn, character) {
    if (turn.message) this.setMessage({ author: turn.author, text: turn.message, at: turn.started_at, origin: turn.source });
    this.setCharacter(character);
    this.at.textContent = timeOf(turn.started_at);
    this.at.dateTime = turn.started_at;
    const texts = turn.sentences.map((sentence) => sentence.text);
    const isWhole = squeezed(joined(texts)) === squeezed(turn.reply);
    if (isWhole || (turn.outcome === "interrupted" && texts.length)) {
      for (const { n, text, url } of turn.sentences) {
        this.sentence(n, text, "", false);
        this.sound(n, url);
      }
    } else if (turn.reply) {
      this.sentence(1, turn.reply, "", false);
    }
    this.setEmotion(turn.emotion);
    this.remembered(turn.reply);
    this.finished(turn);
    if (turn.error) this.notice("warn", `${turn.error} Not spoken.`);
  }

  #markHeard(heard) {
    let left = heard.trim();
    for (const sentence of [...this.#sentences].sort(([a], [b]) => a - b).map(([, found]) => found)) {
      let same = 0;
      while (same < sentence.text.length && same < left.length && sentence.text[same] === left[same]) same += 1;
      sentence.heard = 0;
      brighten(sentence, same);
      left = left.slice(same).trimStart();
    }
  }

  #showTail() {
    const text = this.#raw.replace(CUES, "").replace(/^\s+/, this.#sentences.size ? " " : "");
    this.tail.textContent = this.#isOver ? "" : text;
    this.caret.hidden = this.#isOver;
    if (text && this.status.textContent === "thinking") this.say("");
  }

  #drawTimes(totals, isOver) {
    const shown = this.#spans.filter((span) => span.name !== "speaking" && span.name !== "remaining_speech" && span.duration_ms > 0);
    if (!shown.length) return;
    const all = Math.max(BAR_MS, shown.reduce((sum, span) => sum + span.duration_ms, 0));
    const bar = el("span", { class: "bar", "aria-hidden": "true" });
    for (const span of shown) {
      const piece = el("span", { dataset: { stage: span.stage } });
      piece.style.width = `${(span.duration_ms / all) * 100}%`;
      bar.append(piece);
    }
    const words = !totals
      ? ""
      : totals.first_audio_ms !== null && totals.first_audio_ms !== undefined
        ? `first audio ${seconds(totals.first_audio_ms)}`
        : `answered in ${seconds(totals.total_ms)}`;
    const wasOpen = this.foot.querySelector("details")?.open ?? false;
    const details = el(
      "details",
      { open: wasOpen },
      el("summary", {}, bar, el("span", { class: "figure" }, words), el("span", { class: "unseen" }, "stages of this turn")),
      el(
        "ul",
        { class: "stages" },
        ...this.#spans.map((span) =>
          el(
            "li",
            {},
            el("span", { class: "mark", dataset: { stage: span.stage } }),
            el("span", {}, `${STAGES[span.stage] ?? span.stage}: ${span.name.replaceAll("_", " ")}`),
            el("span", { class: "figure" }, seconds(span.duration_ms)),
            span.detail ? el("span", { class: "detail" }, span.detail) : null,
          ),
        ),
      ),
    );
    this.foot.replaceChildren(details, ...(isOver ? this.#buttons() : []));
    this.foot.hidden = false;
  }

  #buttons() {
    const copy = el("button", { class: "button quiet square", type: "button", title: "Copy the reply", "aria-label": "Copy the reply" }, icon("copy"));
    copy.addEventListener("click", async () => {
      const isCopied = await copyText(this.reply);
      copy.replaceChildren(icon(isCopied ? "check" : "warn"));
      this.#actions.copied(isCopied);
      setTimeout(() => copy.replaceChildren(icon("copy")), 1500);
    });
    const again = el("button", { class: "button quiet square", type: "button", title: "Hear it again", "aria-label": "Hear it again" }, icon("play"));
    again.addEventListener("click", () => this.#actions.replay(this));
    return [this.reply ? copy : null, this.sounds.length ? again : null].filter(Boolean);
  }
}

function brighten(sentence, chars) {
  if (chars <= sentence.heard) return; // what was heard stays so, whatever comes late
  sentence.heard = chars;
  sentence.bright.textContent = sentence.text.slice(0, chars);
  sentence.dim.textContent = sentence.text.slice(chars);
}

/** What is left of the raw text behind a sentence; the sentence lacks cues and marks that the raw text has. */
function after(raw, sentence) {
  const text = raw.replace(CUES, (cue) => " ".repeat(cue.length));
  let at = 0;
  for (const char of sentence) {
    if (!/[\p{L}\p{N}]/u.test(char)) continue;
    const found = text.indexOf(char, at);
    if (found < 0) return "";
    at = found + char.length;
  }
  while (at < text.length && /[^\s\p{L}\p{N}]/u.test(text[at])) at += 1;
  return raw.slice(at);
}

const squeezed = (text) => text.replace(/\s+/g, "");

function originOf(origin) {
  const words = { microphone: "from the microphone", ws: "spoken on a page", asr: "from a recogniser", "client-ws": "from a client" };
  const found = words[origin] ?? (origin?.startsWith("viewers:") ? `from ${origin.slice(8)}` : "");
  return found ? el("span", { class: "origin" }, found) : null;
}

async function copyText(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    // Pages without a safe address have no clipboard; the old way still works there.
    const area = el("textarea", { class: "unseen", readonly: true });
    area.value = text;
    document.body.append(area);
    area.select();
    const isCopied = document.execCommand("copy");
    area.remove();
    return isCopied;
  }
}
