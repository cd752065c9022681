// Plays the sentences itself when Luma's sound goes to the overlay (AUDIO_SINK=overlay): OBS records what a page plays.
//
// Each sentence begins right where the one before ends: a sentence that is announced (`playback.next`) is fetched and decoded
// before its turn. Volume, muting and ducking come by events; an interruption fades within 20 ms.

const KEPT = 6; // decoded sentences
const LATE_S = 0.3; // a sentence later than this is joined in its middle, so that the overlay never lags for long
const TOGETHER_S = 0.35; // two sentences closer than this follow each other without a gap
const FADE_S = 0.02;
const WAKES_MS = 400;

export class Sound {
  #context = null;
  #gain = null;
  #volume = 1;
  #decoded = new Map(); // url -> promise of an AudioBuffer
  #playing = null; // {source, startsAt, endsAt, key}
  #asked = null; // the key of the sentence that was asked for last
  #hasWarned = false;
  #address;

  /** @param {(path: string) => string} address  Makes an address of this backend out of a path. */
  constructor(address) {
    this.#address = address;
    for (const what of ["pointerdown", "keydown"]) addEventListener(what, () => this.#context?.resume());
  }

  /** Open the sound output, so that the first sentence need not wait for it. */
  warm() {
    if (this.#context) return;
    this.#context = new AudioContext({ latencyHint: "interactive" });
    this.#gain = this.#context.createGain();
    this.#gain.gain.value = this.#volume;
    this.#gain.connect(this.#context.destination);
    this.#wake();
  }

  /** Fetch a sentence that will be played soon. */
  prepare(url) {
    this.warm();
    let buffer = this.#decoded.get(url);
    if (!buffer) {
      buffer = this.#fetch(url);
      this.#decoded.set(url, buffer);
      buffer.catch(() => this.#decoded.delete(url));
      if (this.#decoded.size > KEPT) this.#decoded.delete(this.#decoded.keys().next().value);
    }
    return buffer;
  }

  setVolume(volume) {
    this.#volume = volume;
    this.#gain?.gain.setTargetAtTime(volume, this.#context.currentTime, 0.012);
  }

  /**
   * Play a sentence.
   *
   * @param {object} sentence  url, n, turn_id, duration_s.
   * @param {number} startMs   When its first sample belongs, in performance time.
   * @returns {Promise<((now: number) => number|null)|null>}  Gives the seconds that have left the output; null when it was
   *          stopped or replaced before it began.
   */
  async play(sentence, startMs) {
    const key = `${sentence.turn_id}/${sentence.n}`;
    this.#asked = key;
    const buffer = await this.prepare(sentence.url);
    const isAwake = await this.#wake();
    // What is given to a sleeping output would all sound at once when somebody clicks.
    if (this.#asked !== key || !isAwake) return null;
    const context = this.#context;
    const soonest = context.currentTime + 0.005;
    const wanted = context.currentTime + (startMs - performance.now()) / 1000;
    const before = this.#playing;
    let startsAt = Math.max(soonest, wanted);
    let offset = 0;
    if (before && before.endsAt > soonest - TOGETHER_S && Math.abs(before.endsAt - startsAt) < TOGETHER_S) {
      startsAt = Math.max(soonest, before.endsAt);
    } else if (soonest - wanted > LATE_S) {
      offset = Math.min(soonest - wanted, buffer.duration);
    }
    const source = context.createBufferSource();
    source.buffer = buffer;
    const own = context.createGain();
    source.connect(own).connect(this.#gain);
    source.start(startsAt, offset);
    const playing = { source, own, startsAt: startsAt - offset, endsAt: startsAt + buffer.duration - offset };
    this.#playing = playing;
    source.onended = () => {
      own.disconnect();
      if (this.#playing === playing) this.#playing = null;
    };
    return (now) => this.#heardAt(now) - playing.startsAt;
  }

  /** Fall silent now. */
  stop() {
    this.#asked = null;
    const playing = this.#playing;
    this.#playing = null;
    if (!playing) return;
    const at = this.#context.currentTime;
    playing.own.gain.setValueAtTime(1, at);
    playing.own.gain.linearRampToValueAtTime(0, at + FADE_S);
    playing.source.stop(at + FADE_S);
  }

  /** The time of the sample that is heard at a moment of performance.now(). */
  #heardAt(now) {
    const { contextTime, performanceTime } = this.#context.getOutputTimestamp();
    if (!performanceTime) return this.#context.currentTime - (this.#context.outputLatency || 0);
    return contextTime + (now - performanceTime) / 1000;
  }

  async #fetch(url) {
    const answer = await fetch(this.#address(url));
    if (!answer.ok) throw new Error(`${url} answered ${answer.status}`);
    return this.#context.decodeAudioData(await answer.arrayBuffer());
  }

  /** Whether the output runs; waits a moment for one that has just been opened. */
  async #wake() {
    const context = this.#context;
    if (context.state === "running") return true;
    await Promise.race([context.resume(), new Promise((done) => setTimeout(done, WAKES_MS))]);
    if (context.state === "running") return true;
    if (!this.#hasWarned) {
      this.#hasWarned = true;
      // Into the log only: what is written on the page would be on stream.
      console.warn("luma: the browser blocks sound until somebody clicks into the page; OBS does not.");
    }
    return false;
  }
}
