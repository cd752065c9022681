// Captions: the sentence that is spoken; words that were heard are bright, those to come are dim.
//
// Whatever the text holds is text (textContent): nothing a viewer or a model writes becomes markup.

import { Voice } from "./avatar/voice.js";

const SILENT_LEAST_S = 1.4; // a line that is shown and not heard stays at least this long
const SILENT_PER_LETTER_S = 0.055;
const MOST_SILENT = 20;
const UNVOICED_AFTER_MS = 4000; // a sentence without sound this long after it was written will have none
const MOST_LETTERS = 2000;
const REJOIN_MS = 700;

/** What an address may say about the looks; anything else is told in the log and left as it is. */
const WISHES = {
  size: number(12, 200, 42),
  colour: colour("#ffffff"),
  dim: colour(""),
  outline: number(0, 16, 5),
  outline_colour: colour("#101018"),
  background: colour("transparent"),
  position: oneOf("bottom", "top", "middle"),
  align: oneOf("center", "left", "right"),
  font: fontName(""),
  weight: number(100, 900, 700),
  lines: number(1, 8, 2),
  width: number(10, 100, 90),
  margin: number(0, 40, 5),
  uppercase: oneOf("0", "1"),
  fade: number(0, 60_000, 1500),
};

/** The looks an address asks for. */
export function looksOf(wishes, warn = (text) => console.warn(`luma: ${text}`)) {
  const looks = {};
  for (const [name, { fallback, read }] of Object.entries(WISHES)) {
    const given = wishes.get(name);
    const value = given === null ? fallback : read(given);
    if (value === undefined) warn(`captions: ${name}=${JSON.stringify(given.slice(0, 60))} cannot be used; docs/overlay.md lists what can`);
    looks[name] = value ?? fallback;
  }
  return looks;
}

export class Captions {
  #element;
  #box;
  #text;
  #looks;
  #voice;
  #ownsVoice;
  #words = []; // [{span, start_s}]
  #key = "";
  #heardCount = 0;
  #silent = [];
  #silentTimer = 0;
  #fadeTimer = 0;
  #pending = new Map();
  #voiced = new Set();
  #line = 0;

  constructor(luma, element, wishes, { voice = null, calm = false } = {}) {
    this.#element = element;
    this.#looks = looksOf(wishes);
    this.#ownsVoice = voice === null;
    this.#voice = voice ?? new Voice();
    this.#box = document.createElement("div");
    this.#box.className = "caption-box";
    this.#text = document.createElement("div");
    this.#text.className = "caption-text";
    this.#text.dir = "auto";
    const view = document.createElement("div");
    view.className = "caption-view";
    view.append(this.#text);
    this.#box.append(view);
    element.append(this.#box);
    this.#dress(calm);
    if (this.#ownsVoice) {
      luma.onReady(() => this.#join(luma));
      luma.onState((state) => state === "closed" && this.#hide());
      luma.on("playback.position", (event) => this.#voice.position(event));
    } else {
      luma.onReady(() => this.#adopt());
    }
    luma.on("playback.started", (event) => this.#started(event));
    luma.on("playback.finished", (event) => this.#finished(event));
    luma.on("chat.sentence", (event) => this.#written(event));
    requestAnimationFrame((now) => this.#frame(now));
  }

  #dress(calm) {
    const looks = this.#looks;
    const style = this.#element.style;
    style.setProperty("--size", `${looks.size}px`);
    style.setProperty("--bright", looks.colour);
    style.setProperty("--dim", looks.dim || looks.colour);
    style.setProperty("--dim-opacity", looks.dim ? "1" : "0.5");
    style.setProperty("--outline", `${looks.outline}px`);
    style.setProperty("--outline-colour", looks.outline_colour);
    style.setProperty("--background", looks.background);
    style.setProperty("--weight", looks.weight);
    style.setProperty("--lines", looks.lines);
    style.setProperty("--width", `${looks.width}%`);
    style.setProperty("--margin", `${looks.margin}vh`);
    if (looks.font) style.setProperty("--font", `"${looks.font}"`);
    Object.assign(this.#element.dataset, {
      position: looks.position,
      align: looks.align,
      uppercase: looks.uppercase,
      calm: calm ? "1" : "0",
    });
  }

  async #join(luma) {
    const { playing } = await luma.get("/overlay/state");
    if (!playing) {
      this.#voice.finished();
      this.#hide();
    } else if (playing.sink !== "none" && this.#keyOf(playing.turn_id, playing.n) !== this.#key) {
      this.#voice.joined(playing);
      this.#adopt();
    }
  }

  /** Show what the voice is in the middle of. */
  #adopt() {
    const sentence = this.#voice.sentence;
    if (sentence) this.#show(this.#keyOf(sentence.turn_id, sentence.n), sentence.text, sentence.words ?? []);
  }

  #keyOf(turn, n) {
    return `${turn}/${n}`;
  }

  // --- what happens ---

  #started(event) {
    const { data, turn_id: turn } = event;
    this.#voiced.add(turn);
    if (this.#voiced.size > 50) this.#voiced.delete(this.#voiced.values().next().value);
    for (const [key, pending] of this.#pending) if (pending.turn === turn) this.#forget(key);
    if (data.sink === "none") {
      this.#showSilent(data.text, data.duration_s);
      return;
    }
    this.#endSilence();
    const key = this.#keyOf(turn, data.n);
    if (this.#ownsVoice) {
      const isJoined = key === this.#key && this.#voice.positionAt(performance.now()) * 1000 > REJOIN_MS;
      if (isJoined) return;
      this.#voice.started(event);
    }
    this.#show(key, data.text, data.words ?? []);
  }

  #finished(event) {
    for (const [key, pending] of this.#pending) if (pending.turn === event.turn_id) this.#forget(key);
    if (this.#ownsVoice && event.data.interrupted) this.#voice.finished();
    if (!this.#key.startsWith(`${event.turn_id}/`)) return;
    if (event.data.interrupted) {
      // What was not heard was not said.
      for (const { span } of this.#words.slice(this.#heardCount)) span.remove();
      this.#words.length = this.#heardCount;
    }
    this.#fadeLater();
  }

  #written(event) {
    const { data, turn_id: turn } = event;
    if (this.#voiced.has(turn)) return;
    const key = this.#keyOf(turn, data.n);
    const wait = () => {
      if (this.#voiced.has(turn)) this.#pending.delete(key);
      else if (this.#voice.sentence && this.#voice.positionAt(performance.now()) !== null) {
        this.#pending.get(key).timer = setTimeout(wait, 1000);
      } else {
        this.#pending.delete(key);
        this.#showSilent(data.text, 0);
      }
    };
    if (this.#pending.size < MOST_SILENT) {
      this.#pending.set(key, { turn, timer: setTimeout(wait, UNVOICED_AFTER_MS) });
    }
  }

  #forget(key) {
    clearTimeout(this.#pending.get(key)?.timer);
    this.#pending.delete(key);
  }

  // --- lines that are shown and not heard ---

  #showSilent(text, seconds) {
    if (this.#silent.length >= MOST_SILENT) this.#silent.shift();
    this.#silent.push({ text, seconds: Math.max(SILENT_LEAST_S, seconds, [...text].length * SILENT_PER_LETTER_S) });
    if (!this.#silentTimer) this.#nextSilent();
  }

  #nextSilent() {
    const line = this.#silent.shift();
    this.#silentTimer = 0;
    if (!line) {
      this.#fadeLater();
      return;
    }
    this.#show("", line.text, []);
    this.#hear(this.#words.length);
    this.#silentTimer = setTimeout(() => this.#nextSilent(), line.seconds * 1000);
  }

  #endSilence() {
    clearTimeout(this.#silentTimer);
    this.#silentTimer = 0;
    this.#silent = [];
  }

  // --- the line on the page ---

  #show(key, text, words) {
    clearTimeout(this.#fadeTimer);
    this.#key = key;
    this.#heardCount = 0;
    this.#line = 0;
    this.#words = [];
    this.#text.replaceChildren();
    this.#text.style.transform = "";
    for (const { word, gap, start_s } of wordsOf(text, words)) {
      const span = document.createElement("span");
      span.className = "word";
      span.textContent = word;
      this.#text.append(span, gap);
      this.#words.push({ span, start_s });
    }
    this.#element.dataset.shown = "1";
  }

  #hear(count) {
    for (; this.#heardCount < count; this.#heardCount += 1) this.#words[this.#heardCount].span.classList.add("heard");
    this.#scroll();
  }

  /** Keep the line that is being said in view. */
  #scroll() {
    const last = this.#words[Math.min(this.#heardCount, this.#words.length) - 1]?.span;
    if (!last) return;
    // Measured, not counted: a line with an emoji or another script in it is higher than the others.
    const tops = [];
    for (const { span } of this.#words) {
      for (const { top } of span.getClientRects()) if (!tops.length || top > tops.at(-1) + this.#looks.size / 2) tops.push(top);
    }
    const rects = last.getClientRects();
    const bottom = rects.length ? rects[rects.length - 1].top : 0;
    const at = tops.findLastIndex((top) => top <= bottom + this.#looks.size / 2);
    const wanted = Math.max(0, at - this.#looks.lines + 1);
    if (wanted !== this.#line) {
      this.#line = wanted;
      this.#text.style.transform = wanted ? `translateY(${tops[0] - tops[wanted]}px)` : "";
    }
  }

  #fadeLater() {
    clearTimeout(this.#fadeTimer);
    if (this.#looks.fade > 0) this.#fadeTimer = setTimeout(() => this.#hide(), this.#looks.fade);
  }

  #hide() {
    this.#endSilence();
    clearTimeout(this.#fadeTimer);
    this.#key = "";
    this.#element.dataset.shown = "0";
  }

  #frame(now) {
    requestAnimationFrame((next) => this.#frame(next));
    const sentence = this.#voice.sentence;
    if (!sentence || !this.#key || this.#key !== this.#keyOf(sentence.turn_id, sentence.n)) return;
    const position = this.#voice.positionAt(now);
    const count =
      position === null ? this.#words.length : this.#words.filter(({ start_s }) => start_s <= position).length;
    if (count > this.#heardCount) this.#hear(count);
    if (position === null) this.#fadeLaterOnce();
  }

  #fadeLaterOnce() {
    // The sound has ended; without a word from the backend (it may be gone) the line goes all the same.
    this.#key = "";
    this.#fadeLater();
  }
}

/**
 * A text in words, each with what is between it and the next and when it begins.
 *
 * `times` are {end: code points, end_s}; characters that belong together (emoji, marks) are never parted.
 */
export function wordsOf(text, times) {
  const letters = Array.from(text.slice(0, MOST_LETTERS));
  const borders = new Set();
  let at = 0;
  for (const { segment } of new Intl.Segmenter(undefined, { granularity: "grapheme" }).segment(letters.join(""))) {
    borders.add(at);
    at += Array.from(segment).length;
  }
  borders.add(letters.length);
  const ends = times.length ? times : [{ end: letters.length, end_s: 0 }];
  const words = [];
  let from = 0;
  let start_s = 0;
  for (const { end, end_s } of [...ends, { end: letters.length, end_s: Infinity }]) {
    const until = Math.min(end, letters.length);
    if (until > from && borders.has(until)) {
      const piece = letters.slice(from, until).join("");
      const word = piece.trimStart();
      if (words.length) words.at(-1).gap += piece.slice(0, piece.length - word.length);
      if (word) words.push({ word, gap: "", start_s });
      from = until;
    }
    start_s = end_s;
  }
  return words;
}

// --- reading an address ---

function number(least, most, fallback) {
  return {
    fallback,
    read: (text) => (/^\d{1,6}(\.\d{1,3})?$/.test(text) && text >= least && text <= most ? Number(text) : undefined),
  };
}

function oneOf(...choices) {
  return { fallback: choices[0], read: (text) => (choices.includes(text) ? text : undefined) };
}

function colour(fallback) {
  return {
    fallback,
    read: (text) => {
      // A # begins the fragment of an address, so colours come without it too.
      const value = /^([0-9a-f]{3,4}|[0-9a-f]{6}|[0-9a-f]{8})$/i.test(text) ? `#${text}` : text;
      return /^[#a-z0-9(),.%/ ]{1,40}$/i.test(value) && CSS.supports("color", value) ? value : undefined;
    },
  };
}

function fontName(fallback) {
  return { fallback, read: (text) => (/^[\p{L}\p{N} _.-]{1,60}$/u.test(text) ? text : undefined) };
}
