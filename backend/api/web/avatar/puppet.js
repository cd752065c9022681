// Draws a puppet: layers (PNG or SVG pictures) on one canvas, turned, moved and exchanged by the rules in its rig.json.
//
// The "puppet" part of rig.json, all in the puppet's own units:
//   canvas       [left, top, width, height]: what has to be in view
//   parts        painted in order: {name, parent?, pivot: [x, y], image?: {file, box: [x, y, w, h]},
//                states?: {name: {file, box}}, state?: the one at rest}
//   expressions  name -> part -> {state?, rotate?, x?, y?, scale_x?, scale_y?, opacity?}
//   mouth        {part, visemes: viseme -> state ("" = the face's own), voices?: expression -> ending of the state's name}
//   blink        {part, state, every_ms: [least, most], ms, not: [expressions whose eyes stay as they are]}
//   idle         [{part, what, by, period_ms, phase}]: sines that run for ever
//   voice        {"part.what": change at full loudness}
//   motions      name -> {"part.what": [[share of its length, value], …]}; rotate, x, y are added, scales multiplied

const NUMBERS = { rotate: 0, x: 0, y: 0, scale_x: 1, scale_y: 1, opacity: 1 };
const BLEND_MS = 140; // one motion into the next
const MOST_PARTS = 200;
const MOST_PIXELS = 4096; // on a side

export const create = () => new Puppet();

class Puppet {
  calm = false;
  #element = null;
  #canvas = null;
  #context = null;
  #watch = null;
  #rig = null;
  #puppet = null;
  #parts = [];
  #byName = new Map();
  #pictures = [];
  #scale = 0; // device pixels per unit the pictures were made for
  #view = { scale: 1, x: 0, y: 0 };
  #face = { name: "neutral", from: {}, to: {}, begins: 0, ms: 0, ease: evenly };
  #asked = null; // the expression that waits for the next tick's clock
  #motion = null;
  #leaving = null;
  #askedMotion;
  #mouth = {};
  #level = 0;
  #shownLevel = 0;
  #now = 0;
  #blink = { at: 0, random: seeded(20) };

  async load(rig, element) {
    const base = new URL(rig.url, location.href);
    const answer = await fetch(base, { cache: "no-cache" });
    if (!answer.ok) throw new Error(`${rig.url} answered ${answer.status}`);
    const puppet = (await answer.json()).puppet;
    this.#rig = rig;
    this.#puppet = checked(puppet, rig.id);
    this.#parts = puppet.parts.map((part) => ({ ...part, pictures: new Map(), matrix: null }));
    this.#byName = new Map(this.#parts.map((part) => [part.name, part]));
    const loads = [];
    for (const part of this.#parts) {
      if (part.image) loads.push(this.#picture(part, null, part.image, base));
      for (const [state, image] of Object.entries(part.states ?? {})) {
        loads.push(this.#picture(part, state, image, base));
      }
    }
    await Promise.all(loads);
    this.#element = element;
    this.#canvas = document.createElement("canvas");
    Object.assign(this.#canvas.style, { position: "absolute", inset: "0", width: "100%", height: "100%" });
    this.#context = this.#canvas.getContext("2d");
    element.append(this.#canvas);
    this.#watch = new ResizeObserver(() => this.#fit());
    this.#watch.observe(element);
    this.#fit();
    this.#face.to = this.#target("neutral");
    this.tick(performance.now());
  }

  setExpression(name, transition, ms) {
    this.#asked = { name, transition, ms };
  }

  playMotion(motion, { loop = false } = {}) {
    this.#askedMotion = motion === null ? null : { name: motion.name, loop };
  }

  setMouth(weights) {
    this.#mouth = weights;
  }

  setSpeaking(level) {
    this.#level = level;
  }

  dispose() {
    this.#watch?.disconnect();
    this.#canvas?.remove();
    this.#parts = [];
    this.#pictures = [];
    this.#byName.clear();
    this.#context = null;
  }

  tick(now) {
    if (!this.#context) return;
    const passed = Math.min(100, Math.max(0, now - this.#now));
    this.#now = now;
    this.#begin(now);
    this.#shownLevel += (this.#level - this.#shownLevel) * (1 - Math.exp(-passed / 60));
    const pose = this.#pose(now);
    const { width, height } = this.#canvas;
    const context = this.#context;
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.clearRect(0, 0, width, height);
    for (const part of this.#parts) part.matrix = null;
    for (const part of this.#parts) this.#paint(part, pose);
    // One picture a frame: nothing stutters when a face is shown for the first time.
    this.#pictures.find((picture) => !picture.surface)?.at(this.#scale);
  }

  // --- pictures ---

  async #picture(part, state, { file, box }, base) {
    const address = new URL(file, base);
    const folder = base.href.slice(0, base.href.lastIndexOf("/") + 1);
    if (!address.href.startsWith(folder)) throw new Error(`${this.#rig.id}: ${file} is not in the rig's folder`);
    const image = new Image();
    image.src = address.href;
    try {
      await image.decode();
    } catch {
      throw new Error(`${this.#rig.id}: the picture ${file} cannot be loaded`);
    }
    const picture = new Picture(image, box);
    part.pictures.set(state, picture);
    this.#pictures.push(picture);
  }

  #fit() {
    const ratio = Math.min(3, devicePixelRatio || 1);
    const width = Math.min(MOST_PIXELS, Math.round(this.#element.clientWidth * ratio));
    const height = Math.min(MOST_PIXELS, Math.round(this.#element.clientHeight * ratio));
    if (width < 1 || height < 1) return;
    if (this.#canvas.width !== width || this.#canvas.height !== height) {
      this.#canvas.width = width;
      this.#canvas.height = height;
    }
    const [left, top, w, h] = this.#puppet.canvas;
    const scale = Math.min(width / w, height / h);
    this.#view = { scale, x: (width - w * scale) / 2 - left * scale, y: height - (top + h) * scale };
    if (Math.abs(scale - this.#scale) > 1e-3) {
      this.#scale = scale;
      for (const picture of this.#pictures) picture.surface = null;
    }
    if (this.#now) this.tick(this.#now);
  }

  // --- what is shown when ---

  #begin(now) {
    if (this.#asked) {
      const { name, transition, ms } = this.#asked;
      this.#asked = null;
      const known = Object.hasOwn(this.#puppet.expressions, name) ? name : "neutral";
      const from = this.#blended(now);
      this.#face = {
        name: known,
        from,
        to: this.#target(known),
        begins: now,
        ms: transition === "instant" ? 0 : ms,
        ease: transition === "ease-in-out" ? slowAtEnds : evenly,
      };
    }
    if (this.#askedMotion !== undefined) {
      const asked = this.#askedMotion;
      this.#askedMotion = undefined;
      if (this.#motion) this.#leaving = { ...this.#motion, ends: now + BLEND_MS };
      this.#motion = null;
      if (asked && Object.hasOwn(this.#puppet.motions, asked.name)) {
        const named = this.#rig.motions.find((motion) => motion.name === asked.name);
        const ms = named?.duration_ms > 0 ? named.duration_ms : 2000;
        this.#motion = { tracks: this.#puppet.motions[asked.name], loop: asked.loop, begins: now, ms };
      }
    }
    if (this.#motion && !this.#motion.loop && now - this.#motion.begins > this.#motion.ms) this.#motion = null;
    if (this.#leaving && now >= this.#leaving.ends) this.#leaving = null;
  }

  /** Every part in an expression, with nothing left out. */
  #target(name) {
    const changes = this.#puppet.expressions[name] ?? {};
    const target = {};
    for (const part of this.#parts) {
      target[part.name] = { ...NUMBERS, state: part.state ?? "", ...changes[part.name] };
    }
    return target;
  }

  /** The face between two expressions; where a state changes, both with their shares. */
  #blended(now) {
    const { from, to, begins, ms, ease } = this.#face;
    const share = ms > 0 ? ease(Math.min(1, Math.max(0, (now - begins) / ms))) : 1;
    const blended = {};
    for (const [name, after] of Object.entries(to)) {
      const before = from[name] ?? after;
      const values = { state: share < 0.5 ? before.state : after.state, fading: null };
      for (const what of Object.keys(NUMBERS)) values[what] = before[what] + (after[what] - before[what]) * share;
      if (share < 1 && before.state !== after.state) {
        values.state = after.state;
        values.fading = { state: before.state, share };
      }
      blended[name] = values;
    }
    return blended;
  }

  #pose(now) {
    const pose = this.#blended(now);
    if (!this.calm) {
      for (const { part, what, by, period_ms, phase } of this.#puppet.idle) {
        if (pose[part]) pose[part][what] += by * Math.sin(2 * Math.PI * (now / period_ms + phase));
      }
      for (const [key, by] of Object.entries(this.#puppet.voice)) {
        const [part, what] = key.split(".");
        if (pose[part]) pose[part][what] += by * this.#shownLevel;
      }
    }
    if (this.#leaving) {
      this.#move(pose, this.#leaving, now, (this.#leaving.ends - now) / BLEND_MS);
    }
    if (this.#motion) {
      const share = this.#leaving ? 1 - (this.#leaving.ends - now) / BLEND_MS : 1;
      this.#move(pose, this.#motion, now, share);
    }
    this.#speak(pose);
    this.#blinkAt(pose, now);
    return pose;
  }

  #move(pose, { tracks, loop, begins, ms }, now, share) {
    const passed = (now - begins) / ms;
    const at = loop ? passed % 1 : Math.min(1, passed);
    for (const [key, track] of Object.entries(tracks)) {
      const [part, what] = key.split(".");
      const values = pose[part];
      if (!values) continue;
      const value = along(track, at);
      if (what.startsWith("scale")) values[what] *= 1 + (value - 1) * share;
      else if (what === "opacity") values[what] *= 1 + (value - 1) * share;
      else values[what] += value * share;
    }
  }

  #speak(pose) {
    const { part, visemes, voices } = this.#puppet.mouth;
    const values = pose[part];
    if (!values) return;
    let best = "sil";
    let most = 0.12; // less is rest
    for (const [viseme, weight] of Object.entries(this.#mouth)) {
      if (weight > most) [best, most] = [viseme, weight];
    }
    const state = Object.hasOwn(visemes, best) ? visemes[best] : "";
    if (!state) return;
    const pictures = this.#byName.get(part).pictures;
    const own = `${state}.${voices?.[this.#face.name] ?? ""}`;
    values.state = pictures.has(own) ? own : state;
    values.fading = null;
    values.scale_y *= 0.72 + 0.28 * Math.min(1, most);
  }

  #blinkAt(pose, now) {
    const blink = this.#puppet.blink;
    const values = blink && pose[blink.part];
    if (!values) return;
    const { every_ms: [least, most], ms } = blink;
    if (!this.#blink.at || now > this.#blink.at + ms + most) this.#blink.at = now + least;
    const passed = now - this.#blink.at;
    if (passed < 0) return;
    if (passed >= ms) {
      // Now and then twice in a row, as people do.
      const again = this.#blink.random() < 0.14;
      this.#blink.at = now + (again ? 120 : least + (most - least) * this.#blink.random());
      return;
    }
    if (blink.not.includes(this.#face.name) || values.fading) return;
    const share = passed / ms;
    if (share < 0.2 || share > 0.78) {
      values.scale_y *= 0.55; // lids on their way
      return;
    }
    const own = `${blink.state}.${this.#puppet.mouth.voices?.[this.#face.name] ?? ""}`;
    values.state = this.#byName.get(blink.part).pictures.has(own) ? own : blink.state;
  }

  // --- painting ---

  #paint(part, pose) {
    const values = pose[part.name];
    if (values.opacity < 0.004) return;
    if (part.image) this.#stamp(part, part.pictures.get(null), pose, values.opacity);
    if (!part.states) return;
    if (values.fading) {
      const { state, share } = values.fading;
      // The new one comes first and the old one goes then: at no moment is the face without eyes.
      this.#stamp(part, part.pictures.get(state), pose, values.opacity * Math.min(1, 2 - 2 * share));
      this.#stamp(part, part.pictures.get(values.state), pose, values.opacity * Math.min(1, 2 * share));
    } else {
      this.#stamp(part, part.pictures.get(values.state), pose, values.opacity);
    }
  }

  #stamp(part, picture, pose, opacity) {
    if (!picture || opacity < 0.004) return;
    const context = this.#context;
    const surface = picture.at(this.#scale);
    const [x, y, w, h] = picture.box;
    context.setTransform(this.#matrix(part, pose));
    context.globalAlpha = Math.min(1, opacity);
    context.drawImage(surface, x, y, w, h);
    context.globalAlpha = 1;
  }

  #matrix(part, pose) {
    if (part.matrix) return part.matrix;
    const parent = part.parent ? this.#matrix(this.#byName.get(part.parent), pose) : null;
    const { scale, x, y } = this.#view;
    const values = pose[part.name];
    const [px, py] = part.pivot;
    part.matrix = (parent ? DOMMatrix.fromMatrix(parent) : new DOMMatrix([scale, 0, 0, scale, x, y]))
      .translateSelf(values.x + px, values.y + py)
      .rotateSelf(values.rotate)
      .scaleSelf(values.scale_x, values.scale_y)
      .translateSelf(-px, -py);
    return part.matrix;
  }
}

/** A picture and its pixels at the size in which it is shown: an SVG is not drawn anew in every frame. */
class Picture {
  surface = null;

  constructor(image, box) {
    this.image = image;
    this.box = box;
  }

  at(scale) {
    if (!this.surface) {
      const surface = document.createElement("canvas");
      surface.width = Math.max(1, Math.min(MOST_PIXELS, Math.ceil(this.box[2] * scale)));
      surface.height = Math.max(1, Math.min(MOST_PIXELS, Math.ceil(this.box[3] * scale)));
      surface.getContext("2d").drawImage(this.image, 0, 0, surface.width, surface.height);
      this.surface = surface;
    }
    return this.surface;
  }
}

const evenly = (share) => share;
const slowAtEnds = (share) => share * share * (3 - 2 * share);

/** The value of a track at a share of its length; slow at each of its points. */
function along(track, at) {
  for (let i = 1; i < track.length; i += 1) {
    const [t1, v1] = track[i];
    if (at <= t1) {
      const [t0, v0] = track[i - 1];
      return t1 > t0 ? v0 + (v1 - v0) * slowAtEnds(Math.max(0, (at - t0) / (t1 - t0))) : v1;
    }
  }
  return track.at(-1)[1];
}

/** The same chance every time the page is opened (mulberry32, Tommy Ettinger 2017). */
function seeded(seed) {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
  };
}

/** The puppet part of a rig.json with everything in its place, or an Error that says what is wrong with it. */
function checked(puppet, id) {
  const wrong = (what) => new Error(`${id}: the puppet in its rig.json ${what}; see docs/overlay.md`);
  const isNumbers = (value, count) =>
    Array.isArray(value) && value.length === count && value.every((n) => Number.isFinite(n));
  if (!puppet || typeof puppet !== "object") throw wrong("is missing");
  if (!isNumbers(puppet.canvas, 4) || puppet.canvas[2] <= 0 || puppet.canvas[3] <= 0) throw wrong("has no canvas");
  if (!Array.isArray(puppet.parts) || !puppet.parts.length || puppet.parts.length > MOST_PARTS) {
    throw wrong(`needs 1 to ${MOST_PARTS} parts`);
  }
  const names = new Map(puppet.parts.map((part) => [part.name, part]));
  if (names.size !== puppet.parts.length) throw wrong("has two parts of one name");
  for (const part of puppet.parts) {
    part.pivot ??= [0, 0];
    if (!isNumbers(part.pivot, 2)) throw wrong(`has no pivot for ${part.name}`);
    for (const image of [part.image, ...Object.values(part.states ?? {})]) {
      if (image && (typeof image.file !== "string" || !isNumbers(image.box, 4))) {
        throw wrong(`has a picture of ${part.name} without file or box`);
      }
    }
    const seen = new Set([part.name]);
    for (let above = part.parent; above; above = names.get(above).parent) {
      if (!names.has(above)) throw wrong(`hangs ${part.name} on ${above}, which does not exist`);
      if (seen.has(above)) throw wrong(`hangs ${part.name} on itself`);
      seen.add(above);
    }
  }
  puppet.expressions ??= {};
  puppet.motions ??= {};
  puppet.idle ??= [];
  puppet.voice ??= {};
  puppet.mouth ??= { part: "", visemes: {} };
  for (const tracks of Object.values(puppet.motions)) {
    for (const track of Object.values(tracks)) {
      if (!Array.isArray(track) || !track.length || !track.every((point) => isNumbers(point, 2))) {
        throw wrong("has a motion whose values are not [share, value] pairs");
      }
    }
  }
  if (puppet.blink && !(isNumbers(puppet.blink.every_ms, 2) && puppet.blink.ms > 0)) throw wrong("blinks without times");
  if (puppet.blink) puppet.blink.not ??= [];
  return puppet;
}
