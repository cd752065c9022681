// Draws a character that has pictures only, one a face: they fade into each other, and hop and brighten with the voice.

const MOTION_MS = 900;

export const create = () => new PictureShow();

class PictureShow {
  calm = false;
  #element = null;
  #frame = null;
  #base = "";
  #known = new Set();
  #images = new Map();
  #shown = null;
  #leaving = null;
  #fade = { begins: 0, ms: 0, slow: false };
  #asked = null;
  #level = 0;
  #shownLevel = 0;
  #motion = null;
  #now = 0;

  async load(rig, element) {
    this.#base = rig.url;
    this.#known = new Set(["neutral", ...rig.expressions]);
    this.#element = element;
    this.#frame = document.createElement("div");
    this.#frame.className = "picture-rig";
    Object.assign(this.#frame.style, {
      position: "absolute",
      inset: "6% 0 0 0",
      transformOrigin: "50% 100%",
      willChange: "transform, filter",
    });
    this.#shown = await this.#image("neutral");
    this.#shown.style.opacity = "1";
    element.append(this.#frame);
  }

  setExpression(name, transition, ms) {
    const wanted = this.#known.has(name) ? name : "neutral";
    const ask = { wanted, transition, ms };
    this.#asked = ask;
    this.#image(wanted)
      .catch(() => this.#image("neutral"))
      .then((image) => {
        if (this.#asked !== ask || image === this.#shown) return;
        if (this.#leaving) this.#leaving.style.opacity = "0";
        this.#leaving = this.#shown;
        this.#shown = image;
        const isInstant = transition === "instant" || ms <= 0;
        this.#fade = { begins: this.#now, ms: isInstant ? 0 : ms, slow: transition === "ease-in-out" };
      });
  }

  playMotion(motion, { loop = false } = {}) {
    this.#motion = motion === null ? null : { begins: this.#now, loop, ms: motion.duration_ms || MOTION_MS };
  }

  setMouth(weights) {
    // Without a mouth the whole picture speaks; the stage tells how loud when it knows better.
    const open = Object.entries(weights).filter(([viseme]) => viseme !== "sil").map(([, weight]) => weight);
    this.#level = Math.max(0, ...open);
  }

  setSpeaking(level) {
    this.#level = Math.max(this.#level, level);
  }

  tick(now) {
    const passed = Math.min(100, Math.max(0, now - this.#now));
    this.#now = now;
    this.#shownLevel += (this.#level - this.#shownLevel) * (1 - Math.exp(-passed / 45));
    const { begins, ms, slow } = this.#fade;
    const even = ms > 0 ? Math.min(1, Math.max(0, (now - begins) / ms)) : 1;
    const share = slow ? even * even * (3 - 2 * even) : even;
    if (this.#leaving) {
      this.#shown.style.opacity = String(Math.min(1, 2 * share));
      this.#leaving.style.opacity = String(Math.min(1, 2 - 2 * share));
      if (share >= 1) this.#leaving = null;
    }
    const level = this.#shownLevel;
    let lift = level * 4;
    let sway = 0;
    let stretch = 1 + level * 0.02;
    if (!this.calm) {
      stretch += 0.006 * Math.sin(now / 620);
      sway = 0.5 * Math.sin(now / 1400);
    } else {
      lift = 0;
    }
    if (this.#motion) {
      const passedMs = now - this.#motion.begins;
      const at = this.#motion.loop ? (passedMs % this.#motion.ms) / this.#motion.ms : passedMs / this.#motion.ms;
      if (at >= 1) this.#motion = null;
      else lift += 7 * Math.abs(Math.sin(2 * Math.PI * at)) * (this.calm ? 0.3 : 1);
    }
    this.#frame.style.transform = `translateY(${-lift}%) rotate(${sway}deg) scaleY(${stretch})`;
    this.#frame.style.filter = `brightness(${0.9 + 0.1 * Math.min(1, level * 3)})`;
  }

  dispose() {
    this.#frame?.remove();
    this.#images.clear();
    this.#asked = null;
  }

  /** The picture of a face, loaded once, in the frame and not to be seen yet. */
  async #image(name) {
    let image = this.#images.get(name);
    if (!image) {
      image = new Image();
      image.alt = "";
      Object.assign(image.style, {
        position: "absolute",
        inset: "0",
        width: "100%",
        height: "100%",
        objectFit: "contain",
        objectPosition: "50% 100%",
        opacity: "0",
      });
      image.src = `${this.#base}${encodeURIComponent(name)}.png`;
      this.#images.set(name, image);
      this.#frame.append(image);
    }
    try {
      await image.decode();
    } catch {
      this.#images.delete(name);
      image.remove();
      throw new Error(`the picture ${name}.png cannot be loaded`);
    }
    return image;
  }
}
