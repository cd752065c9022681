// Draws Live2D avatars with the user's own copy of the Cubism core; the interface is in renderer.js.
//
// The core turns parameters into shapes, and nothing else: which parameters, when, is worked out here, and live2d_draw.js draws
// the shapes. In a frame the parameters start at their rest and are changed in this order: motion, blinking, expression,
// idling, physics, mouth. So a frame depends on the moment alone.
// rig.json may say, in "live2d": {"scale": 1, "x": 0, "y": 0, "fps": 60, "idle": "Idle"}; x and y in parts of the element.

import { Drawing } from "./live2d_draw.js";
import { changed, eased, expressionOf, motionOf, poseOf, valueAt } from "./live2d_motion.js";
import { Physics } from "./live2d_physics.js";
import { key } from "./names.js";

const CORE = "/api/rigs/live2d/live2dcubismcore.min.js";
const CORE_WAIT_MS = 15_000;
const MOST_PIXELS_PER_POINT = 2;
const LONGEST_STEP_S = 1 / 10;
const FPS = 60;
const MOST_READ_AHEAD = 64; // motions
const TAU = Math.PI * 2;

/** How far the jaw is down, and the lips drawn wide (1) or round (-1), for each of the fifteen mouth shapes. */
const MOUTH = {
  sil: [0, 0], PP: [0, 0], FF: [0.12, 0.2], TH: [0.2, 0.2], DD: [0.25, 0.3], kk: [0.3, 0.2], CH: [0.3, -0.4], SS: [0.18, 0.6],
  nn: [0.22, 0.2], RR: [0.3, -0.3], aa: [1, 0.2], E: [0.6, 0.7], ih: [0.4, 1], oh: [0.75, -0.7], ou: [0.4, -1],
};
/** Models with a shape for each vowel. */
const VOWELS = { ParamA: { aa: 1, kk: 0.25, DD: 0.2 }, ParamI: { ih: 1, SS: 0.4, TH: 0.25, nn: 0.25, FF: 0.15 }, ParamU: { ou: 1, CH: 0.4, RR: 0.3 }, ParamE: { E: 1 }, ParamO: { oh: 1 } };

/** Parameters that are moved here, by the names that models usually give them. */
const USUAL = [
  "ParamAngleX", "ParamAngleY", "ParamAngleZ", "ParamBodyAngleX", "ParamBreath", "ParamEyeBallX", "ParamEyeBallY", "ParamEyeLOpen", "ParamEyeROpen",
  "ParamMouthOpenY", "ParamMouthForm",
];

const chance = (n) => {
  const x = Math.sin(n * 91.7 + 3.1) * 43758.5453;
  return x - Math.floor(x);
};

/** Models from before Cubism 3 spell it PARAM_ANGLE_X. */
const olderName = (id) => id.replace(/(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])/g, "_").toUpperCase();

export function create() {
  return new Live2D();
}

let core = null;

/** The core, loaded once a page. It is ready a while after its script. */
function loadCore() {
  core ??= (async () => {
    const script = document.createElement("script");
    script.src = CORE;
    try {
      await new Promise((resolve, reject) => {
        script.onload = resolve;
        script.onerror = () => reject(new Error("the Cubism core is not there; docs/rigs.md says where it belongs"));
        document.head.append(script);
      });
      const ends = performance.now() + CORE_WAIT_MS;
      while (!isReady(globalThis.Live2DCubismCore)) {
        if (performance.now() > ends) throw new Error("the Cubism core does not start: is the file whole?");
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
      return globalThis.Live2DCubismCore;
    } catch (error) {
      core = null; // the next rig tries again: the file may be there by then
      script.remove();
      throw error;
    }
  })();
  return core;
}

function isReady(found) {
  try {
    return found?.Version.csmGetVersion() > 0;
  } catch {
    return false; // its memory is not there yet
  }
}

class Live2D {
  calm = false;
  #element = null;
  #canvas = null;
  #gl = null;
  #drawing = null;
  #observer = null;
  #home = null;
  #moc = null;
  #model = null;
  #settings = { scale: 1, x: 0, y: 0, fps: FPS };
  #isLost = false;

  #parameters = new Map(); // id -> number
  #parts = new Map();
  #blinking = [];
  #mouthOpen = [];
  #vowels = false;

  #expressions = new Map(); // usable name, small -> changes
  #weights = new Map(); // of expressions, now
  #change = null;

  #groups = {};
  #read = new Map(); // "group index" -> promise of a motion
  #playing = []; // oldest first: {motion, loop, start, end}
  #wanted = 0;
  #idle = null;
  #idled = 0;

  #pose = null;
  #shown = new Map(); // part -> opacity
  #physics = null;
  #mouth = {};
  #level = 0;
  #blink = { count: 0, at: null };
  #now = null;
  #drawn = -Infinity;

  async load(rig, element) {
    this.#element = element;
    this.#home = new URL(rig.url, location.href);
    const answer = rig.settings_url ? await fetch(rig.settings_url) : null;
    this.#settle(answer?.ok ? (await answer.json()).live2d : null);
    try {
      await this.#open(await loadCore());
    } catch (error) {
      this.dispose();
      throw error;
    }
    element.append(this.#canvas);
    this.#observer = new ResizeObserver(() => this.#fit());
    this.#observer.observe(element);
    this.#fit();
    this.tick(performance.now());
  }

  #settle(found) {
    for (const name of ["scale", "x", "y", "fps"]) {
      if (Number.isFinite(found?.[name])) this.#settings[name] = found[name];
    }
    this.#settings.fps = Math.min(120, Math.max(5, this.#settings.fps));
    this.#idle = typeof found?.idle === "string" ? found.idle : null;
  }

  async #open(Core) {
    const described = await this.#json(this.#home);
    const files = described.FileReferences ?? {};
    const [moc, ...images] = await Promise.all([
      this.#fetched(files.Moc).then((found) => found.arrayBuffer()),
      ...(files.Textures ?? []).map((file) => this.#image(file)),
    ]);
    if (Core.Moc.prototype?.hasMocConsistency && !Core.Moc.prototype.hasMocConsistency(moc)) {
      throw new Error("the model's shapes (.moc3) are broken");
    }
    this.#moc = Core.Moc.fromArrayBuffer(moc);
    if (!this.#moc) throw new Error("the Cubism core does not take the model: it may be made for a newer one");
    this.#model = Core.Model.fromMoc(this.#moc);
    if (!this.#model) throw new Error("the Cubism core cannot show the model");
    this.#canvas = document.createElement("canvas");
    this.#canvas.setAttribute("aria-hidden", "true");
    Object.assign(this.#canvas.style, { display: "block", width: "100%", height: "100%" });
    this.#gl = this.#canvas.getContext("webgl", { alpha: true, premultipliedAlpha: true, antialias: true, depth: false });
    if (!this.#gl) {
      throw new Error("this browser has no WebGL, which a Live2D avatar needs; in OBS, switch on hardware acceleration of browser sources");
    }
    this.#drawing = new Drawing(this.#gl, images);
    this.#canvas.addEventListener("webglcontextlost", (event) => {
      event.preventDefault(); // or it never comes back
      this.#isLost = true;
      console.warn("avatar: the graphics card has dropped the picture; it comes back by itself");
    });
    this.#canvas.addEventListener("webglcontextrestored", () => {
      this.#isLost = false;
      this.#drawing?.restore();
    });
    this.#model.parameters.ids.forEach((id, n) => this.#parameters.set(id, n));
    for (const id of USUAL) {
      const n = this.#parameters.get(olderName(id));
      if (n !== undefined && !this.#parameters.has(id)) this.#parameters.set(id, n);
    }
    this.#model.parts.ids.forEach((id, n) => this.#parts.set(id, n));
    await this.#describe(described, files);
  }

  async #describe(described, files) {
    const group = (name) => (described.Groups ?? []).find((each) => each?.Name === name && each.Target === "Parameter")?.Ids ?? [];
    const known = (ids) => ids.filter((id) => this.#parameters.has(id));
    const or = (ids, others) => (ids.length ? ids : known(others));
    this.#blinking = or(known(group("EyeBlink")), ["ParamEyeLOpen", "ParamEyeROpen"]);
    this.#mouthOpen = or(known(group("LipSync")), ["ParamMouthOpenY"]);
    this.#vowels = Object.keys(VOWELS).every((id) => this.#parameters.has(id));
    this.#groups = Object.fromEntries(Object.entries(files.Motions ?? {}).filter(([, entries]) => Array.isArray(entries)));
    const idle = this.#idle ?? "idle";
    this.#idle = Object.keys(this.#groups).find((name) => name.toLowerCase() === idle.toLowerCase()) ?? null;
    const expressions = (files.Expressions ?? []).map(async ({ Name: name, File: file }) => {
      try {
        this.#expressions.set(key(name), expressionOf(await this.#json(this.#address(file))));
      } catch (error) {
        console.warn(`avatar: the expression ${name} cannot be read: ${error.message}`);
      }
    });
    const optional = async (file, make) => {
      if (!file) return null;
      try {
        return make(await this.#json(this.#address(file)));
      } catch (error) {
        console.warn(`avatar: ${file} cannot be read: ${error.message}`);
        return null;
      }
    };
    [this.#pose, this.#physics] = await Promise.all([
      optional(files.Pose, poseOf),
      optional(files.Physics, (found) => new Physics(found)),
      ...expressions,
    ]);
    for (const parts of this.#pose?.groups ?? []) parts.forEach((part, n) => this.#shown.set(part.id, n === 0 ? 1 : 0));
    // Read before they are asked for, so that a motion begins with its sentence; what is broken is told when it is to play.
    const first = Object.entries(this.#groups).flatMap(([group, entries]) => [...entries.keys()].map((n) => [group, n])).slice(0, MOST_READ_AHEAD);
    await Promise.allSettled(first.map(([group, n]) => this.#motion(group, n)));
    if (this.#idle && !this.calm) await this.#nextIdle();
  }

  // --- files ---

  #address(file) {
    const url = new URL(String(file).split("/").map(encodeURIComponent).join("/"), this.#home);
    const folder = new URL(".", this.#home).href;
    if (!url.href.startsWith(folder)) throw new Error(`the model wants a file outside of its folder: ${file}`);
    return url;
  }

  async #fetched(file) {
    const answer = await fetch(file instanceof URL ? file : this.#address(file));
    if (!answer.ok) throw new Error(`${file} cannot be fetched: ${answer.status}`);
    return answer;
  }

  async #json(url) {
    return (await this.#fetched(url)).json();
  }

  async #image(file) {
    const blob = await (await this.#fetched(file)).blob();
    return createImageBitmap(blob, { premultiplyAlpha: "premultiply", colorSpaceConversion: "none" });
  }

  #motion(group, index) {
    const name = `${group} ${index}`;
    if (!this.#read.has(name)) {
      const entry = Object.hasOwn(this.#groups, group) ? this.#groups[group]?.[index] : null;
      if (!entry?.File) return null;
      this.#read.set(name, this.#json(this.#address(entry.File)).then((file) => motionOf(file, entry)));
    }
    return this.#read.get(name);
  }

  // --- what the stage asks for ---

  setExpression(name, transition, ms) {
    const found = key(name);
    const target = new Map(this.#expressions.has(found) ? [[found, 1]] : []);
    const isInstant = transition === "instant" || !(ms > 0);
    this.#change = { from: new Map(this.#weights), target, start: null, ms: isInstant ? 0 : ms, ease: transition === "ease-in-out" };
  }

  playMotion(motion, { loop = false } = {}) {
    this.#wanted += 1;
    const turn = this.#wanted;
    const found = motion ? this.#motion(motion.group, motion.index) : null;
    if (!found) {
      this.#begin(null, false, false);
      return;
    }
    found.then(
      (read) => { if (turn === this.#wanted && this.#model) this.#begin(read, loop, false); },
      (error) => console.warn(`avatar: the motion ${motion.name} cannot be read: ${error.message}`),
    );
  }

  setMouth(weights) {
    this.#mouth = weights;
  }

  setSpeaking(level) {
    this.#level = level;
  }

  #begin(motion, loop, isIdle) {
    for (const each of this.#playing) each.isLeaving = true;
    if (motion) this.#playing.push({ motion, loop, isIdle, start: null, left: null, isLeaving: false });
  }

  async #nextIdle() {
    const count = this.#groups[this.#idle]?.length ?? 0;
    if (!count) return;
    const index = Math.floor(chance(this.#idled) * count);
    this.#idled += 1;
    const turn = this.#wanted;
    try {
      const motion = await this.#motion(this.#idle, index);
      if (motion && turn === this.#wanted && this.#model && !this.#playing.some((each) => !each.isLeaving)) {
        this.#begin(motion, false, true);
      }
    } catch (error) {
      this.#idle = null; // or it would be asked for again in every frame
      console.warn(`avatar: the model's idling cannot be read: ${error.message}`);
    }
  }

  // --- a frame ---

  tick(now) {
    if (!this.#model) return;
    if (now - this.#drawn < 1000 / this.#settings.fps - 0.5 && now >= this.#drawn) return;
    this.#drawn = now;
    const step = this.#now === null ? 0 : Math.min(LONGEST_STEP_S, Math.max(0, (now - this.#now) / 1000));
    this.#now = now;
    const { parameters, parts } = this.#model;
    parameters.values.set(parameters.defaultValues);
    const opacities = new Map();
    const eyes = this.#playMotions(now, opacities);
    if (!eyes) this.#scale(this.#blinking, this.#openAt(now));
    this.#express(now);
    this.#idling(now / 1000);
    this.#physics?.run(step, parameters, this.#parameters);
    this.#speak();
    for (let n = 0; n < parameters.count; n += 1) {
      const least = parameters.minimumValues[n];
      const most = parameters.maximumValues[n];
      // With physics and additions on top a value can leave its range, and the shapes with it.
      parameters.values[n] = Math.min(most, Math.max(least, parameters.values[n]));
    }
    for (const [id, value] of opacities) if (this.#parts.has(id)) parts.opacities[this.#parts.get(id)] = value;
    this.#takeParts(step, opacities);
    this.#model.update();
    if (!this.#isLost) this.#drawing.draw(this.#model);
    this.#model.drawables.resetDynamicFlags?.();
  }

  #add(id, value) {
    const n = this.#parameters.get(id);
    if (n !== undefined) this.#model.parameters.values[n] += value;
  }

  #scale(ids, by) {
    for (const id of ids) this.#model.parameters.values[this.#parameters.get(id)] *= by;
  }

  /** Apply all motions that play; whether one of them moves the eyelids. */
  #playMotions(now, opacities) {
    let eyes = false;
    const { values } = this.#model.parameters;
    for (const each of this.#playing) {
      const { motion } = each;
      each.start ??= now;
      let time = (now - each.start) / 1000;
      if (!each.loop && time >= motion.duration) each.isDone = true;
      if (each.isLeaving) each.left ??= now;
      const gone = each.left === null ? 0 : (now - each.left) / 1000;
      if (each.isLeaving && gone >= motion.fadeOut) each.isDone = true;
      if (each.isDone) continue;
      const end = each.loop ? Infinity : motion.duration - time;
      const into = motion.fadeIn > 0 ? eased(time / motion.fadeIn) : 1;
      const out = motion.fadeOut > 0 ? Math.min(eased(end / motion.fadeOut), eased(1 - gone / motion.fadeOut)) : 1;
      const weight = into * out;
      if (each.loop && motion.duration > 0) time %= motion.duration;
      for (const curve of motion.curves) {
        const value = valueAt(curve, time);
        if (curve.target === "PartOpacity") {
          opacities.set(curve.id, value);
          continue;
        }
        const ids = curve.target === "Model" ? { EyeBlink: this.#blinking, LipSync: this.#mouthOpen }[curve.id] ?? [] : [curve.id];
        for (const id of ids) {
          const n = this.#parameters.get(id);
          if (n === undefined) continue;
          // "Model" curves scale what the parameter has; those of parameters take its place.
          const wanted = curve.target === "Model" ? values[n] * value : value;
          values[n] += (wanted - values[n]) * weight;
          if (this.#blinking.includes(id)) eyes = true;
        }
      }
    }
    this.#playing = this.#playing.filter((each) => !each.isDone);
    if (this.#idle && !this.calm && !this.#playing.some((each) => !each.isLeaving)) void this.#nextIdle();
    return eyes;
  }

  #openAt(now) {
    const blink = this.#blink;
    blink.at ??= now + 1500;
    const t = now - blink.at;
    if (t < 0) return 1;
    if (t < 80) return 1 - t / 80;
    if (t < 130) return 0;
    if (t < 270) return (t - 130) / 140;
    blink.count += 1;
    blink.at = now + 2200 + 3800 * chance(blink.count);
    return 1;
  }

  #express(now) {
    if (this.#change) {
      const change = this.#change;
      change.start ??= now;
      const t = change.ms ? Math.min(1, Math.max(0, (now - change.start) / change.ms)) : 1;
      const k = change.ease ? eased(t) : t;
      for (const name of new Set([...change.from.keys(), ...change.target.keys()])) {
        const weight = (change.from.get(name) ?? 0) * (1 - k) + (change.target.get(name) ?? 0) * k;
        if (weight > 0) this.#weights.set(name, weight);
        else this.#weights.delete(name);
      }
      if (t >= 1) this.#change = null;
    }
    const { values } = this.#model.parameters;
    for (const [name, weight] of this.#weights) {
      for (const each of this.#expressions.get(name)) {
        const n = this.#parameters.get(each.id);
        if (n !== undefined) values[n] = changed(values[n], each, weight);
      }
    }
  }

  #idling(s) {
    const wave = (period, shift = 0) => Math.sin((s / period) * TAU + shift);
    if (this.calm) return;
    this.#add("ParamBreath", 0.5 + 0.5 * wave(3.4));
    this.#add("ParamAngleX", 5 * wave(6.7));
    this.#add("ParamAngleY", 3 * wave(4.1, 1));
    this.#add("ParamAngleZ", 4 * wave(5.9, 2));
    this.#add("ParamBodyAngleX", 2 * wave(13.7));
    const part = Math.floor(s / 2.1);
    if (chance(part) > 0.6) {
      this.#add("ParamEyeBallX", 0.7 * (chance(part + 0.3) - 0.5));
      this.#add("ParamEyeBallY", 0.5 * (chance(part + 0.6) - 0.5));
    }
  }

  #speak() {
    const entries = Object.entries(this.#mouth).filter(([name]) => Object.hasOwn(MOUTH, name));
    if (this.#vowels) {
      for (const [id, shares] of Object.entries(VOWELS)) {
        this.#add(id, entries.reduce((sum, [name, weight]) => sum + (shares[name] ?? 0) * weight, 0));
      }
      if (!entries.length) this.#add("ParamA", this.#level);
      return;
    }
    let open = entries.length ? 0 : this.#level;
    let form = 0;
    for (const [name, weight] of entries) {
      open += MOUTH[name][0] * weight;
      form += MOUTH[name][1] * weight;
    }
    for (const id of this.#mouthOpen) this.#add(id, open);
    this.#add("ParamMouthForm", form);
  }

  /** Of parts that exclude each other show one: what a motion says, else the first. */
  #takeParts(step, opacities) {
    const { parts } = this.#model;
    for (const group of this.#pose?.groups ?? []) {
      const chosen = group.find((part) => (opacities.get(part.id) ?? 0) > 0.001) ?? group[0];
      for (const part of group) {
        const aim = part === chosen ? 1 : 0;
        const now = this.#shown.get(part.id);
        const by = step / this.#pose.fade;
        const opacity = aim > now ? Math.min(aim, now + by) : Math.max(aim, now - by);
        this.#shown.set(part.id, opacity);
        for (const id of [part.id, ...part.links]) {
          const n = this.#parts.get(id);
          if (n !== undefined) parts.opacities[n] = opacity;
        }
      }
    }
  }

  #fit() {
    if (!this.#gl || !this.#element) return;
    const ratio = Math.min(devicePixelRatio || 1, MOST_PIXELS_PER_POINT);
    const width = Math.max(1, Math.round(this.#element.clientWidth * ratio));
    const height = Math.max(1, Math.round(this.#element.clientHeight * ratio));
    if (this.#canvas.width !== width || this.#canvas.height !== height) {
      this.#canvas.width = width;
      this.#canvas.height = height;
    }
    const { CanvasWidth, CanvasHeight, CanvasOriginX, CanvasOriginY, PixelsPerUnit } = this.#model.canvasinfo;
    const wide = CanvasWidth / PixelsPerUnit;
    const high = CanvasHeight / PixelsPerUnit;
    const left = -CanvasOriginX / PixelsPerUnit;
    // The canvas' origin counts from its top, the model's y upwards.
    const bottom = CanvasOriginY / PixelsPerUnit - high;
    const pixels = Math.min(width / wide, height / high) * this.#settings.scale;
    const [sx, sy] = [(2 * pixels) / width, (2 * pixels) / height];
    this.#drawing.place([sx, sy, -(left + wide / 2) * sx + 2 * this.#settings.x, -1 - bottom * sy + 2 * this.#settings.y]);
    this.#drawn = -Infinity;
  }

  dispose() {
    this.#observer?.disconnect();
    this.#drawing?.dispose();
    this.#gl?.getExtension("WEBGL_lose_context")?.loseContext();
    this.#model?.release();
    this.#moc?._release();
    this.#canvas?.remove();
    this.#observer = this.#drawing = this.#gl = this.#model = this.#moc = this.#canvas = null;
  }
}
