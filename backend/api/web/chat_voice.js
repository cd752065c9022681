// Plays the sentences of a conversation of this page's own, in order and without a gap, and knows what was heard of them.
//
// The stage is not played here: its sink is the loudspeaker or the overlay. Each sentence is placed on the clock of the sound
// card right behind the one before, so how busy the page is makes no difference.

const START_S = 0.03;
const DUCKED = 0.25;
const FADE_S = 0.02;

/** How many characters of a sentence were heard at `position`: whole words, as the backend counts them. */
export function heardChars(text, position, duration) {
  if (duration <= 0 || position <= 0) return 0;
  if (position >= duration) return text.length;
  const words = /\s/.test(text.trim()) ? [...text.matchAll(/\S+/g)] : [...text].map((char, n) => ({ 0: char, index: n }));
  const isSpaced = /\s/.test(text.trim());
  if (!isSpaced) return [...text].slice(0, Math.floor((position / duration) * [...text].length)).join("").length;
  const total = words.reduce((sum, word) => sum + word[0].length + 1, 0);
  let letters = 0;
  let end = 0;
  for (const word of words) {
    letters += word[0].length + 1;
    if ((letters / total) * duration > position) break;
    end = word.index + word[0].length;
  }
  return end;
}

export class Voice {
  #load;
  #told;
  #context = null;
  #gain = null;
  #items = [];
  #line = Promise.resolve();
  #endsAt = 0;
  #complete = new Set();
  #round = 0;
  #timer = 0;
  #isMuted = false;
  #isDucked = false;

  /** `load(url)` gives the bytes; `told` has position(turn, n, chars), ended(turn), blocked(), problem(words). */
  constructor(load, told) {
    this.#load = load;
    this.#told = told;
  }

  /** A person did something: from now on the browser lets this page be heard. */
  unlock() {
    this.#ready();
    if (this.#context.state === "suspended") this.#context.resume().catch(() => {});
  }

  get isPlaying() {
    return this.#items.length > 0;
  }

  get turn() {
    return this.#items[0]?.turn ?? null;
  }

  /** Add a sentence; it sounds when all before it have. */
  say(turn, n, text, url) {
    this.#ready();
    const item = { turn, n, text, url, startsAt: null, endsAt: null, source: null, length: 0 };
    const round = this.#round;
    this.#items.push(item);
    this.#complete.delete(turn);
    // Loading may overtake, placing does not.
    const loaded = this.#decode(url);
    this.#line = this.#line.then(async () => {
      try {
        const buffer = await loaded;
        if (round === this.#round) this.#place(item, buffer);
      } catch (error) {
        if (round !== this.#round) return;
        this.#items = this.#items.filter((other) => other !== item);
        this.#told.problem(`Sentence ${n} cannot be played: ${error.message}`);
        this.#told.position(turn, n, text.length);
        this.#watch();
      }
    });
    this.#watch();
  }

  /** No more sentences come for this turn. */
  complete(turn) {
    this.#complete.add(turn);
    this.#watch();
  }

  /** Fall silent now; gives what was heard of the turn that sounded, null when none did. */
  stop() {
    const turn = this.turn;
    if (turn === null) return null;
    this.#tick();
    const heard = this.#heard.get(turn) ?? [];
    const now = this.#items.find((item) => item.turn === turn && item.startsAt !== null && item.startsAt <= this.#context.currentTime);
    const part = now ? now.text.slice(0, heardChars(now.text, this.#context.currentTime - now.startsAt, now.length)) : "";
    this.#round += 1;
    this.#line = Promise.resolve();
    this.#gain.gain.setTargetAtTime(0, this.#context.currentTime, FADE_S / 3);
    for (const item of this.#items) item.source?.stop(this.#context.currentTime + FADE_S * 2);
    const turns = new Set(this.#items.map((item) => item.turn));
    this.#items = [];
    this.#endsAt = 0;
    setTimeout(() => this.#setGain(), FADE_S * 2500);
    for (const one of turns) {
      this.#heard.delete(one);
      this.#complete.delete(one);
      this.#told.ended(one, true);
    }
    return [...heard, part].filter(Boolean).join(" ");
  }

  #heard = new Map();

  set isMuted(isMuted) {
    this.#isMuted = isMuted;
    this.#setGain();
  }

  get isMuted() {
    return this.#isMuted;
  }

  /** Quieter while somebody speaks. */
  set isDucked(isDucked) {
    this.#isDucked = isDucked;
    this.#setGain();
  }

  #setGain() {
    if (!this.#gain) return;
    const volume = this.#isMuted ? 0 : this.#isDucked ? DUCKED : 1;
    this.#gain.gain.setTargetAtTime(volume, this.#context.currentTime, FADE_S / 3);
  }

  #ready() {
    if (this.#context) return;
    this.#context = new AudioContext();
    this.#gain = this.#context.createGain();
    this.#gain.connect(this.#context.destination);
    this.#setGain();
  }

  async #decode(url) {
    return this.#context.decodeAudioData(await this.#load(url));
  }

  #place(item, buffer) {
    if (this.#context.state === "suspended") {
      this.#context.resume().catch(() => {});
      this.#told.blocked();
    }
    const source = this.#context.createBufferSource();
    source.buffer = buffer;
    source.connect(this.#gain);
    item.startsAt = Math.max(this.#context.currentTime + START_S, this.#endsAt);
    item.length = buffer.duration;
    item.endsAt = this.#endsAt = item.startsAt + buffer.duration;
    item.source = source;
    source.start(item.startsAt);
    this.#watch();
  }

  #watch() {
    this.#timer ||= setInterval(() => this.#tick(), 40);
  }

  #tick() {
    const now = this.#context?.currentTime ?? 0;
    while (this.#items.length && this.#items[0].endsAt !== null && this.#items[0].endsAt <= now) {
      const { turn, n, text } = this.#items.shift();
      this.#told.position(turn, n, text.length);
      this.#heard.set(turn, [...(this.#heard.get(turn) ?? []), text]);
    }
    const first = this.#items[0];
    if (first && first.startsAt !== null && first.startsAt <= now) {
      this.#told.position(first.turn, first.n, heardChars(first.text, now - first.startsAt, first.length));
    }
    for (const turn of [...this.#complete]) {
      if (this.#items.some((item) => item.turn === turn)) continue;
      this.#complete.delete(turn);
      this.#heard.delete(turn);
      this.#told.ended(turn, false);
    }
    if (!this.#items.length && !this.#complete.size) {
      clearInterval(this.#timer);
      this.#timer = 0;
    }
  }
}
