// The character on stage: loads its rig, picks the renderer, keeps it in step with what is said and shown.

import { rendererFor } from "./renderer.js";
import { Sound } from "./sound.js";
import { Voice } from "./voice.js";

const TRANSITION_MS = { instant: 0, smooth: 220, "ease-in-out": 420 };
const LOAD_AGAIN_MS = 4000;
const LONGEST_LOAD_AGAIN_MS = 60_000;

export class Stage {
  #luma;
  #element;
  #calm;
  #sound;
  #renderer = null;
  #layer = null;
  #rigKey = "";
  #character = "";
  #shown = null;
  #motionKey = "";
  #loading = 0;
  #retry = 0;
  #failures = 0;
  #standsIn = ""; // whose pictures are shown in place of her rig
  #told = new Set();
  #sink = "";

  /**
   * @param {Luma} luma
   * @param {HTMLElement} element
   * @param {object} options
   * @param {boolean} options.plays  Whether this page plays the sound when Luma's sound goes to the overlay.
   * @param {boolean} options.calm   No swaying and bouncing.
   */
  constructor(luma, element, { plays = true, calm = false } = {}) {
    this.#luma = luma;
    this.#element = element;
    this.#calm = calm;
    this.#sound = plays ? new Sound((path) => luma.url(path)) : null;
    this.voice = new Voice();
    luma.onReady(() => this.refresh());
    luma.onState((state) => {
      if (state === "closed") this.#silence(true);
    });
    luma.on("avatar.staged", () => this.#quietly(this.refresh({ soundToo: false })));
    luma.on("avatar.changed", (event) => this.#changed(event.data));
    luma.on("playback.next", (event) => this.#next(event));
    luma.on("playback.started", (event) => this.#started(event));
    luma.on("playback.position", (event) => this.voice.position(event));
    luma.on("playback.finished", (event) => this.#silence(event.data.interrupted));
    luma.on("playback.volume", (event) => this.#sound?.setVolume(event.data.volume));
    requestAnimationFrame((now) => this.#frame(now));
  }

  /** Read everything anew; the sound only where its events may have been missed. */
  async refresh({ soundToo = true } = {}) {
    const state = await this.#luma.get("/overlay/state");
    this.#character = state.character.id;
    this.#sink = state.sink;
    if (this.#sink === "overlay") this.#sound?.warm();
    this.#sound?.setVolume(state.volume);
    const key = JSON.stringify([state.character.id, state.rig]);
    if (key !== this.#rigKey || !this.#renderer) {
      this.#rigKey = key;
      this.#quietly(this.#load(state));
    }
    this.#show(state.shown);
    if (!soundToo) return;
    const { playing } = state;
    const before = this.voice.sentence;
    if (!playing) {
      this.#silence(true);
    } else if (!before || before.turn_id !== playing.turn_id || before.n !== playing.n) {
      this.voice.joined(playing);
      this.#play(playing, performance.now() - playing.position_s * 1000);
    }
  }

  // --- the avatar ---

  async #load(state) {
    const mine = ++this.#loading;
    clearTimeout(this.#retry);
    const { rig, pictures, character } = state;
    let opened = await this.#opened(rig, character);
    const isItself = opened !== null;
    if (!isItself && mine === this.#loading && pictures.expressions.length && this.#standsIn !== character.id) {
      opened = await this.#opened(pictures, character);
    }
    if (mine !== this.#loading) {
      opened?.renderer.dispose();
      opened?.layer.remove();
      return;
    }
    if (!isItself) {
      // On stream her pictures stand in, or the last avatar stays, or nothing: never words. A file may be on its way.
      this.#rigKey = "";
      this.#failures += 1;
      const pauseMs = Math.min(LONGEST_LOAD_AGAIN_MS, LOAD_AGAIN_MS * 2 ** (this.#failures - 1));
      this.#retry = setTimeout(() => this.#quietly(this.refresh({ soundToo: false })), pauseMs);
    }
    if (!opened) {
      if (this.#standsIn !== character.id) document.documentElement.dataset.avatar = "missing";
      return;
    }
    this.#standsIn = isItself ? "" : character.id;
    this.#failures = 0;
    const [oldRenderer, oldLayer] = [this.#renderer, this.#layer];
    this.#renderer = opened.renderer;
    this.#layer = opened.layer;
    this.#motionKey = "";
    const shown = this.#shown;
    this.#shown = null;
    if (shown) this.#show(shown, { isSudden: true });
    this.#renderer.tick(performance.now());
    this.#layer.style.opacity = "1";
    oldRenderer?.dispose();
    oldLayer?.remove();
    this.#element.setAttribute("aria-label", character.name);
    document.documentElement.dataset.avatar = isItself ? rig.id : "pictures";
  }

  /** A renderer that shows a rig in a layer of its own, still unseen; null when it cannot. */
  async #opened(rig, character) {
    const layer = document.createElement("div");
    layer.className = "rig";
    layer.style.opacity = "0";
    try {
      // A rig that is missing is stood in for by the character's pictures, and says so.
      if (rig.problem && (rig.kind !== "picture" || !rig.url)) throw new Error(rig.problem);
      if (rig.problem) console.warn(`luma: ${rig.problem}`);
      const renderer = await rendererFor(rig.kind);
      renderer.calm = this.#calm;
      this.#element.append(layer);
      await renderer.load(rig, layer);
      return { renderer, layer };
    } catch (error) {
      layer.remove();
      const words = `luma: ${character.name} cannot be shown: ${error.message}`;
      if (!this.#told.has(words)) console.warn(words); // once: it is tried again every few seconds
      this.#told.add(words);
      return null;
    }
  }

  #changed(data) {
    if (data.character_id !== this.#character) return;
    this.#show(data.shown ?? { expression: data.expression, transition: "smooth", motion: null });
  }

  #show(shown, { isSudden = false } = {}) {
    const before = this.#shown;
    this.#shown = shown;
    if (!this.#renderer) return;
    if (before?.expression !== shown.expression) {
      const transition = isSudden || !before ? "instant" : shown.transition;
      this.#renderer.setExpression(shown.expression, transition, TRANSITION_MS[transition] ?? 220);
    }
    const { motion } = shown;
    const key = motion ? `${motion.group}/${motion.index}/${motion.started_at}` : "";
    if (key !== this.#motionKey) {
      this.#motionKey = key;
      this.#renderer.playMotion(motion, { loop: motion?.loop ?? false });
    }
  }

  // --- the sound ---

  #next(event) {
    if (this.#sink === "overlay") this.#quietly(this.#sound?.prepare(event.data.url));
  }

  #started(event) {
    const { data } = event;
    const current = this.voice.sentence;
    const isKnown = current && current.turn_id === event.turn_id && current.n === data.n;
    this.#sink = data.sink;
    if (data.sink === "none") return; // nothing sounds, so nothing moves
    if (isKnown && this.voice.positionAt(performance.now()) > 0.3) return; // already joined in its middle
    this.voice.started(event);
    this.#sound?.setVolume(data.volume ?? 1);
    this.#play(this.voice.sentence, performance.now() - this.voice.positionAt(performance.now()) * 1000);
  }

  #play(sentence, startMs) {
    if (!this.#sound || sentence.sink !== "overlay") return;
    this.#quietly(
      this.#sound.play(sentence, startMs).then((position) => {
        if (position && this.voice.sentence === sentence) this.voice.follow(position);
      }),
    );
  }

  #silence(isSudden) {
    if (isSudden) {
      this.#sound?.stop();
      this.voice.finished();
    }
    // Otherwise what was begun sounds to its end, a moment later than the backend counts; the voice ends by itself.
  }

  #frame(now) {
    requestAnimationFrame((next) => this.#frame(next));
    const renderer = this.#renderer;
    if (!renderer) return;
    const weights = this.voice.mouthAt(now);
    renderer.setMouth(weights);
    renderer.setSpeaking?.(this.voice.levelAt(now));
    renderer.tick(now);
  }

  #quietly(promise) {
    promise?.catch((error) => console.warn(`luma: ${error.message}`));
  }
}
