// Draws VRM avatars (0.x and 1.0) with three.js and three-vrm; the interface is in renderer.js.
//
// A pose is made anew for every frame: arms at rest, idling on top, the motion on top of that. Rotations are written for
// VRM 1.0, which looks along +z; a VRM 0.x looks the other way, so its x and z are turned round.
// rig.json may say, in "vrm": {"framing": "upper" | "full" | "face", "fps": 60}.

import * as THREE from "../vendor/three/three.module.min.js";
import { GLTFLoader } from "../vendor/three/loaders/GLTFLoader.js";
import { key } from "./names.js";
import { VRMLoaderPlugin, VRMUtils } from "../vendor/three-vrm/three-vrm.module.min.js";

const MOST_PIXELS_PER_POINT = 2;
const FIELD_DEG = 24;
const FADE_MS = 220;
const LONGEST_STEP_S = 1 / 15; // a longer one would throw hair and skirt about
const FPS = 60;

/** Our names for faces to those of VRM; anything else is looked for by its own name. */
const PRESETS = {
  joy: "happy", happy: "happy", anger: "angry", angry: "angry", sadness: "sad", sad: "sad",
  surprise: "surprised", surprised: "surprised", relaxed: "relaxed", neutral: "neutral",
};

/** How far each of the fifteen mouth shapes opens the five that a VRM has; PP closes the lips. */
const MOUTH = {
  aa: { aa: 1 },
  E: { ee: 0.75, aa: 0.2 },
  ih: { ih: 0.95 },
  oh: { oh: 1 },
  ou: { ou: 1 },
  FF: { ih: 0.18 },
  TH: { ih: 0.25, aa: 0.08 },
  DD: { ih: 0.25, aa: 0.12 },
  kk: { ih: 0.2, aa: 0.2 },
  CH: { ou: 0.4, ih: 0.15 },
  SS: { ee: 0.25, ih: 0.15 },
  nn: { ih: 0.25, aa: 0.06 },
  RR: { ou: 0.3, oh: 0.15 },
};
const VOWELS = ["aa", "ih", "ou", "ee", "oh"];

const TAU = Math.PI * 2;
/** 0 at both ends, 1 between: a motion comes and goes within the first and last `edge` of its time. */
const held = (t, edge = 0.2) => smooth(Math.min(t, 1 - t) / edge);
const smooth = (t) => {
  const x = Math.min(1, Math.max(0, t));
  return x * x * (3 - 2 * x);
};
const swing = (t, times) => Math.sin(t * TAU * times);

/**
 * Motions: length in ms and, for a moment t (0-1), what they add to the pose: bone to [x, y, z] in radians; `lift` raises the
 * whole figure, in parts of its height. The backend lists the same names, in the same order (backend/avatar/vrm.py).
 */
export const MOTIONS = {
  wave: { ms: 2400, pose: (t) => {
    const on = held(t);
    return {
      rightUpperArm: [0, 0.45 * on, -1.5 * on], rightLowerArm: [0, 0.2 * on, (-0.95 + 0.42 * swing(t, 4)) * on],
      rightHand: [0, 0, 0.25 * swing(t, 4) * on], head: [0, 0, -0.1 * on], spine: [0, 0, 0.04 * on],
    };
  } },
  nod: { ms: 1100, pose: (t) => ({
    head: [(0.14 + 0.2 * swing(t, 2)) * held(t), 0, 0], neck: [0.08 * held(t), 0, 0],
  }) },
  shake: { ms: 1300, pose: (t) => ({ head: [0, 0.34 * swing(t, 2.5) * held(t), 0], neck: [0, 0.1 * swing(t, 2.5) * held(t), 0] }) },
  jump: { ms: 1100, pose: (t) => {
    const down = Math.max(0, Math.sin(t * Math.PI * 3)) * (t < 1 / 3 || t > 2 / 3 ? 1 : 0);
    const up = t > 0.3 && t < 0.7 ? Math.sin(((t - 0.3) / 0.4) * Math.PI) : 0;
    return {
      lift: 0.1 * up - 0.022 * down,
      leftUpperLeg: [-0.45 * down, 0, 0], rightUpperLeg: [-0.45 * down, 0, 0],
      leftLowerLeg: [0.9 * down, 0, 0], rightLowerLeg: [0.9 * down, 0, 0],
      leftUpperArm: [0, 0, 1.5 * up], rightUpperArm: [0, 0, -1.5 * up], spine: [0.12 * down, 0, 0],
    };
  } },
  bow: { ms: 2200, pose: (t) => {
    const on = held(t, 0.35);
    return { spine: [0.3 * on, 0, 0], chest: [0.12 * on, 0, 0], neck: [0.1 * on, 0, 0], head: [0.16 * on, 0, 0] };
  } },
  cheer: { ms: 2000, pose: (t) => {
    const on = held(t);
    const up = Math.abs(swing(t, 2));
    return {
      lift: 0.025 * up * on,
      leftUpperArm: [0, 0, (1.8 + 0.25 * up) * on], rightUpperArm: [0, 0, (-1.8 - 0.25 * up) * on],
      leftLowerArm: [0, 0, 0.3 * on], rightLowerArm: [0, 0, -0.3 * on], head: [-0.12 * on, 0, 0],
    };
  } },
  dance: { ms: 4000, pose: (t) => {
    const on = held(t, 0.1);
    const side = swing(t, 4);
    return {
      lift: 0.012 * Math.abs(side) * on,
      spine: [0, 0.18 * side * on, 0.09 * side * on], chest: [0, 0, -0.05 * side * on],
      head: [0, -0.1 * side * on, -0.12 * side * on],
      leftUpperArm: [-0.5 * on, 0, (0.5 + 0.4 * side) * on], rightUpperArm: [-0.5 * on, 0, (-0.5 + 0.4 * side) * on],
      leftLowerArm: [0, -1.2 * on, 0], rightLowerArm: [0, 1.2 * on, 0],
    };
  } },
  think: { ms: 3000, pose: (t) => {
    const on = held(t, 0.15);
    return {
      rightUpperArm: [-0.9 * on, 0.35 * on, 0.1 * on], rightLowerArm: [0, 2.1 * on, -0.3 * on],
      head: [-0.08 * on, -0.16 * on, 0.14 * on],
    };
  } },
};

const REST = { leftUpperArm: [0, 0.05, -1.25], rightUpperArm: [0, -0.05, 1.25], leftLowerArm: [0, -0.12, -0.06], rightLowerArm: [0, 0.12, 0.06] };
const BONES = [...new Set([
  ...Object.keys(REST), "hips", ...Object.values(MOTIONS).flatMap(({ pose }) => Object.keys(pose(0.5))).filter((name) => name !== "lift"),
])];

/** A number 0-1 that depends on n alone: idling differs from moment to moment, and is the same in every run. */
const chance = (n) => {
  const x = Math.sin(n * 127.1 + 11.7) * 43758.5453;
  return x - Math.floor(x);
};

export function create() {
  return new Vrm();
}

class Vrm {
  calm = false;
  #element = null;
  #renderer = null;
  #scene = new THREE.Scene();
  #camera = new THREE.PerspectiveCamera(FIELD_DEG, 1, 0.05, 50);
  #gaze = new THREE.Object3D();
  #vrm = null;
  #observer = null;
  #settings = { framing: "upper", fps: FPS };
  #frame = { top: 1.5, bottom: 0.7, half: 0.4, height: 1.5, middle: 0 };
  #flip = 1;
  #floor = 0;

  #faces = new Map(); // usable name, small -> the VRM's
  #weights = new Map(); // of faces, now
  #change = null;
  #mouth = {};
  #level = 0;

  #motion = null;
  #pose = {}; // what the motion adds, now
  #left = null; // what an earlier motion added, going away

  #now = null;
  #drawn = -Infinity;
  #blink = { count: 0, at: null };

  async load(rig, element) {
    const settings = await settingsOf(rig, "vrm");
    if (["upper", "full", "face"].includes(settings.framing)) this.#settings.framing = settings.framing;
    if (Number.isFinite(settings.fps)) this.#settings.fps = Math.min(120, Math.max(5, settings.fps));
    this.#element = element;
    try {
      this.#renderer = new THREE.WebGLRenderer({ alpha: true, antialias: true, powerPreference: "low-power" });
    } catch (error) {
      throw new Error(`this browser has no WebGL, which a VRM avatar needs; in OBS, switch on hardware acceleration of browser sources (${error.message})`);
    }
    const canvas = this.#renderer.domElement;
    canvas.setAttribute("aria-hidden", "true");
    Object.assign(canvas.style, { display: "block", width: "100%", height: "100%" });
    // three.js itself makes everything anew when the context comes back; until then nothing is drawn.
    canvas.addEventListener("webglcontextlost", () => this.#renderer && console.warn("avatar: the graphics card has dropped the picture; it comes back by itself"));
    this.#scene.add(this.#gaze);
    const sun = new THREE.DirectionalLight(0xffffff, Math.PI * 0.85);
    sun.position.set(0.6, 1.2, 1.6);
    this.#scene.add(sun, new THREE.HemisphereLight(0xffffff, 0xd8d0e8, 0.7));
    try {
      await this.#read(rig);
    } catch (error) {
      this.dispose();
      throw error;
    }
    element.append(canvas);
    this.#observer = new ResizeObserver(() => this.#fit());
    this.#observer.observe(element);
    this.#fit();
    // Compiles the shaders and uploads everything, so that the first frame is not late.
    this.tick(performance.now());
  }

  async #read(rig) {
    const manager = new THREE.LoadingManager();
    const loader = new GLTFLoader(manager);
    const home = new URL(rig.url, location.href);
    manager.setURLModifier((url) => {
      const wanted = new URL(url, home);
      if (["blob:", "data:"].includes(wanted.protocol) || wanted.origin === location.origin) return url;
      throw new Error(`the model wants a file of another site: ${wanted.host}`);
    });
    loader.register((parser) => new VRMLoaderPlugin(parser));
    const file = await loader.loadAsync(home.href);
    const vrm = file.userData.vrm;
    if (!vrm) throw new Error(`${rig.url} is a 3D model but no VRM avatar`);
    this.#vrm = vrm;
    VRMUtils.removeUnnecessaryVertices(file.scene);
    VRMUtils.combineSkeletons(file.scene);
    VRMUtils.rotateVRM0(vrm);
    this.#flip = vrm.meta?.metaVersion === "0" ? -1 : 1;
    vrm.scene.traverse((object) => { object.frustumCulled = false; });
    this.#scene.add(vrm.scene);
    if (vrm.lookAt) vrm.lookAt.target = this.#gaze;
    for (const expression of vrm.expressionManager?.expressions ?? []) {
      this.#faces.set(key(expression.expressionName), expression.expressionName);
    }
    this.#measure();
  }

  #measure() {
    const { scene, humanoid } = this.#vrm;
    scene.updateMatrixWorld(true);
    const place = (bone) => humanoid.getRawBoneNode(bone)?.getWorldPosition(new THREE.Vector3());
    const box = new THREE.Box3().setFromObject(scene);
    const head = place("head") ?? new THREE.Vector3(0, box.max.y * 0.85, 0);
    const hips = place("hips") ?? new THREE.Vector3(0, box.max.y * 0.5, 0);
    const height = Math.max(0.1, box.max.y - Math.min(0, box.min.y));
    const bottoms = { full: box.min.y - 0.03 * height, upper: hips.y - 0.02 * height, face: head.y - 0.08 * height };
    const bottom = bottoms[this.#settings.framing];
    const headroom = this.#settings.framing === "face" ? 0.03 : 0.1; // she jumps and raises her arms
    const top = box.max.y + headroom * height;
    this.#frame = { top, bottom, half: this.#settings.framing === "face" ? 0.16 * height : 0.27 * height, height, middle: (box.min.z + box.max.z) / 2, head };
    const hipsNode = humanoid.getNormalizedBoneNode("hips");
    this.#floor = hipsNode ? hipsNode.position.y : 0;
  }

  #fit() {
    if (!this.#renderer || !this.#element) return;
    const width = Math.max(1, this.#element.clientWidth);
    const height = Math.max(1, this.#element.clientHeight);
    this.#renderer.setPixelRatio(Math.min(devicePixelRatio || 1, MOST_PIXELS_PER_POINT));
    this.#renderer.setSize(width, height, false);
    const { top, bottom, half, middle } = this.#frame;
    const aspect = width / height;
    const seen = Math.max(top - bottom, (half * 2) / aspect);
    const away = seen / 2 / Math.tan((FIELD_DEG / 2) * (Math.PI / 180));
    this.#camera.aspect = aspect;
    this.#camera.position.set(0, bottom + seen / 2, middle + away);
    this.#camera.lookAt(0, bottom + seen / 2, middle);
    this.#camera.near = away / 50;
    this.#camera.far = away * 10;
    this.#camera.updateProjectionMatrix();
    this.#drawn = -Infinity;
  }

  setExpression(name, transition, ms) {
    const target = new Map();
    const found = this.#face(name) ?? this.#face("neutral");
    if (found) target.set(found, 1);
    const isInstant = transition === "instant" || !(ms > 0);
    this.#change = { from: new Map(this.#weights), target, start: null, ms: isInstant ? 0 : ms, ease: transition === "ease-in-out" };
  }

  #face(name) {
    const wanted = key(name);
    const preset = Object.hasOwn(PRESETS, wanted) ? PRESETS[wanted] : "";
    return this.#faces.get(wanted) ?? this.#faces.get(preset) ?? null;
  }

  playMotion(motion, { loop = false } = {}) {
    const name = motion ? key(motion.name) : "";
    this.#left = { pose: this.#pose, start: null };
    this.#motion = Object.hasOwn(MOTIONS, name) ? { ...MOTIONS[name], loop, start: null } : null;
  }

  setMouth(weights) {
    this.#mouth = weights;
  }

  setSpeaking(level) {
    this.#level = level;
  }

  tick(now) {
    if (!this.#vrm || !this.#renderer) return;
    // Half a millisecond less: a screen at that very rate is not to lose every other frame by rounding.
    if (now - this.#drawn < 1000 / this.#settings.fps - 0.5 && now >= this.#drawn) return;
    this.#drawn = now;
    const step = this.#now === null ? 0 : Math.min(LONGEST_STEP_S, Math.max(0, (now - this.#now) / 1000));
    this.#now = now;
    this.#showFace(now);
    this.#showPose(now);
    this.#look(now, step);
    this.#vrm.update(step);
    if (!this.#renderer.getContext().isContextLost()) this.#renderer.render(this.#scene, this.#camera);
  }

  #showFace(now) {
    const manager = this.#vrm.expressionManager;
    if (!manager) return;
    if (this.#change) {
      const change = this.#change;
      change.start ??= now;
      const t = change.ms ? Math.min(1, Math.max(0, (now - change.start) / change.ms)) : 1;
      const k = change.ease ? smooth(t) : t;
      for (const name of new Set([...change.from.keys(), ...change.target.keys()])) {
        const weight = (change.from.get(name) ?? 0) * (1 - k) + (change.target.get(name) ?? 0) * k;
        if (weight > 0) this.#weights.set(name, weight);
        else this.#weights.delete(name);
      }
      if (t >= 1) this.#change = null;
    }
    for (const name of this.#faces.values()) manager.setValue(name, this.#weights.get(name) ?? 0);
    const vowels = this.#vowels();
    for (const vowel of VOWELS) if (this.#faces.has(vowel)) manager.setValue(vowel, vowels[vowel]);
    manager.setValue("blink", Math.max(this.#blinkAt(now), this.#weights.get("blink") ?? 0));
  }

  #vowels() {
    const found = { aa: 0, ih: 0, ou: 0, ee: 0, oh: 0 };
    for (const [viseme, weight] of Object.entries(this.#mouth)) {
      if (!Object.hasOwn(MOUTH, viseme)) continue;
      for (const [vowel, share] of Object.entries(MOUTH[viseme])) found[vowel] += share * weight;
    }
    const lips = 1 - Math.min(1, this.#mouth.PP ?? 0);
    for (const vowel of VOWELS) found[vowel] = Math.min(1, found[vowel]) * lips;
    return found;
  }

  #blinkAt(now) {
    const blink = this.#blink;
    blink.at ??= now + 1200;
    const t = now - blink.at;
    if (t < 0) return 0;
    if (t < 70) return t / 70;
    if (t < 110) return 1;
    if (t < 230) return 1 - (t - 110) / 120;
    blink.count += 1;
    const again = chance(blink.count) < 0.15; // now and then twice
    blink.at = now + (again ? 120 : 2200 + 3800 * chance(blink.count + 0.5));
    return 0;
  }

  #showPose(now) {
    const motion = this.#motion;
    let pose = {};
    if (motion) {
      motion.start ??= now;
      let t = (now - motion.start) / motion.ms;
      if (motion.loop) t -= Math.floor(t);
      if (t >= 1) this.#motion = null;
      else pose = motion.pose(Math.max(0, t));
    }
    if (this.#left) {
      this.#left.start ??= now;
      const gone = smooth((now - this.#left.start) / FADE_MS);
      if (gone >= 1) this.#left = null;
      else pose = blended(this.#left.pose, pose, gone);
    }
    this.#pose = pose;
    const idle = this.calm ? {} : idling(now / 1000);
    const { humanoid } = this.#vrm;
    for (const bone of BONES) {
      const node = humanoid.getNormalizedBoneNode(bone);
      if (!node) continue;
      const [x, y, z] = [0, 1, 2].map((n) => (REST[bone]?.[n] ?? 0) + (idle[bone]?.[n] ?? 0) + (pose[bone]?.[n] ?? 0));
      node.rotation.set(x * this.#flip, y, z * this.#flip);
    }
    const hips = humanoid.getNormalizedBoneNode("hips");
    if (hips) hips.position.y = this.#floor + ((pose.lift ?? 0) + (idle.lift ?? 0)) * this.#frame.height;
    const jaw = humanoid.getNormalizedBoneNode("jaw");
    if (jaw && !this.#faces.has("aa")) {
      const { aa, oh, ih } = this.#vowels();
      jaw.rotation.x = 0.3 * Math.max(aa, oh, ih * 0.5, this.#level) * this.#flip;
    }
  }

  #look(now, step) {
    const { head, height } = this.#frame;
    const part = Math.floor(now / 1700);
    const [wide, high] = this.calm || chance(part) < 0.55 ? [0, 0] : [chance(part + 0.25) - 0.5, chance(part + 0.75) - 0.5];
    const aim = new THREE.Vector3(wide * 0.8 * height, (head?.y ?? height) + high * 0.35 * height, this.#camera.position.z * 0.6);
    // Eyes jump: they arrive within a tenth of a second.
    this.#gaze.position.lerp(aim, step ? 1 - Math.exp(-step * 30) : 1);
  }

  dispose() {
    this.#observer?.disconnect();
    this.#observer = null;
    if (this.#vrm) {
      this.#scene.remove(this.#vrm.scene);
      VRMUtils.deepDispose(this.#vrm.scene);
      this.#vrm = null;
    }
    if (this.#renderer) {
      const renderer = this.#renderer;
      this.#renderer = null; // before the context is lost: that it is, is no news then
      renderer.domElement.remove();
      renderer.dispose();
      // A page may hold sixteen contexts; one that is let go at once leaves room for the next rig.
      renderer.forceContextLoss();
    }
  }
}

/** Breathing and a slow sway. */
function idling(s) {
  const breath = Math.sin((s * TAU) / 3.8);
  const sway = Math.sin((s * TAU) / 7.3);
  const drift = Math.sin((s * TAU) / 11.9 + 1);
  return {
    lift: 0.0012 * breath,
    chest: [-0.012 * breath, 0, 0], spine: [0.006 * breath, 0.02 * drift, 0.014 * sway],
    neck: [0.004 * breath, 0.015 * sway, 0], head: [0.015 * drift, 0.03 * Math.sin((s * TAU) / 9.1), -0.022 * sway],
    leftUpperArm: [0, 0, -0.018 * breath - 0.02], rightUpperArm: [0, 0, 0.018 * breath + 0.02],
  };
}

function blended(from, to, k) {
  const found = { lift: (from.lift ?? 0) * (1 - k) + (to.lift ?? 0) * k };
  for (const bone of new Set([...Object.keys(from), ...Object.keys(to)])) {
    if (bone === "lift") continue;
    found[bone] = [0, 1, 2].map((n) => (from[bone]?.[n] ?? 0) * (1 - k) + (to[bone]?.[n] ?? 0) * k);
  }
  return found;
}

/** The renderer's own part of rig.json; {} without one. */
export async function settingsOf(rig, part) {
  if (!rig.settings_url) return {};
  const answer = await fetch(rig.settings_url);
  if (!answer.ok) return {};
  const found = (await answer.json())[part];
  return found && typeof found === "object" ? found : {};
}
