// What the text files around a Live2D model mean: curves of motions (motion3.json), changes of expressions (exp3.json), groups of
// parts of which one is shown (pose3.json). Pure: no page, no clock.

const LINEAR = 0;
const BEZIER = 1;
const STEPPED = 2;
const INVERSE_STEPPED = 3;
/** Numbers that follow each kind of segment. */
const NUMBERS = { [LINEAR]: 2, [BEZIER]: 6, [STEPPED]: 2, [INVERSE_STEPPED]: 2 };

const MOST_CURVES = 4096;
const MOST_NUMBERS = 2_000_000;
const FADE_S = 1;

const finite = (value, other) => (Number.isFinite(value) ? value : other);

/**
 * A motion: {duration, loops, fadeIn, fadeOut, curves: [{target, id, first, segments}]}, times in seconds.
 * @param {object} file The parsed motion3.json.
 * @param {object} entry What the model3.json says of it: FadeInTime and FadeOutTime there come first.
 */
export function motionOf(file, entry = {}) {
  const meta = file?.Meta ?? {};
  const duration = Math.max(0, finite(meta.Duration, 0));
  const fade = (name) => Math.max(0, finite(entry[name], finite(meta[name], Math.min(FADE_S, duration / 4))));
  const curves = [];
  let numbers = 0;
  for (const each of Array.isArray(file?.Curves) ? file.Curves.slice(0, MOST_CURVES) : []) {
    const segments = Array.isArray(each?.Segments) ? each.Segments : [];
    numbers += segments.length;
    if (numbers > MOST_NUMBERS) throw new Error("a motion has too many points");
    const curve = curveOf(segments, meta.AreBeziersRestricted !== false);
    if (curve && typeof each.Id === "string") {
      curves.push({ target: each.Target, id: each.Id, fadeIn: each.FadeInTime, fadeOut: each.FadeOutTime, ...curve });
    }
  }
  return { duration, loops: Boolean(meta.Loop), fadeIn: fade("FadeInTime"), fadeOut: fade("FadeOutTime"), curves };
}

/** {first: [t, v], segments: [{kind, points: [[t, v], …]}]}; null when it is no curve. Each segment's last point is its end. */
function curveOf(numbers, restricted) {
  if (numbers.length < 2 || !numbers.every(Number.isFinite)) return null;
  const segments = [];
  let at = 2;
  while (at < numbers.length) {
    const kind = numbers[at];
    const count = NUMBERS[kind];
    if (!count || at + count >= numbers.length) break;
    const points = [];
    for (let n = at + 1; n <= at + count; n += 2) points.push([numbers[n], numbers[n + 1]]);
    segments.push({ kind, points });
    at += count + 1;
  }
  return { first: [numbers[0], numbers[1]], segments, restricted };
}

/** Value of a curve at a time; before its first point and after its last it stays there. */
export function valueAt(curve, time) {
  let from = curve.first;
  if (time <= from[0]) return from[1];
  for (const { kind, points } of curve.segments) {
    const to = points[points.length - 1];
    if (time < to[0]) {
      if (kind === STEPPED) return from[1];
      if (kind === INVERSE_STEPPED) return to[1];
      if (kind === BEZIER) return bezier(from, ...points, time, curve.restricted);
      return from[1] + ((to[1] - from[1]) * (time - from[0])) / (to[0] - from[0] || 1);
    }
    from = to;
  }
  return from[1];
}

function bezier(p0, p1, p2, p3, time, restricted) {
  const at = (t, n) => {
    const u = 1 - t;
    return u * u * u * p0[n] + 3 * u * u * t * p1[n] + 3 * u * t * t * p2[n] + t * t * t * p3[n];
  };
  if (restricted) return at((time - p0[0]) / (p3[0] - p0[0] || 1), 1);
  // The handles may lie anywhere between the ends, so time rises with t, but not evenly: look for the t.
  let low = 0;
  let high = 1;
  for (let n = 0; n < 24; n += 1) {
    const middle = (low + high) / 2;
    if (at(middle, 0) < time) low = middle;
    else high = middle;
  }
  return at((low + high) / 2, 1);
}

/** How far a fade has come, 0-1: slow at both ends. */
export const eased = (t) => 0.5 - 0.5 * Math.cos(Math.PI * Math.min(1, Math.max(0, t)));

/** An expression: [{id, value, blend: "Add" | "Multiply" | "Overwrite"}]. */
export function expressionOf(file) {
  return (Array.isArray(file?.Parameters) ? file.Parameters.slice(0, MOST_CURVES) : [])
    .filter((each) => typeof each?.Id === "string" && Number.isFinite(each.Value))
    .map((each) => ({ id: each.Id, value: each.Value, blend: ["Multiply", "Overwrite"].includes(each.Blend) ? each.Blend : "Add" }));
}

/** A value with an expression on it, `weight` 0-1. */
export function changed(value, { value: by, blend }, weight) {
  if (blend === "Multiply") return value * (1 + (by - 1) * weight);
  if (blend === "Overwrite") return value * (1 - weight) + by * weight;
  return value + by * weight;
}

/** Groups of parts of which one is shown: [{parts: [{id, links: [id]}], …}], and how long a change takes, in seconds. */
export function poseOf(file) {
  const groups = (Array.isArray(file?.Groups) ? file.Groups : []).filter(Array.isArray).map((group) => group
    .filter((part) => typeof part?.Id === "string")
    .map((part) => ({ id: part.Id, links: (Array.isArray(part.Link) ? part.Link : []).filter((id) => typeof id === "string") })));
  return { fade: Math.max(0.01, finite(file?.FadeInTime, 0.5)), groups: groups.filter((group) => group.length) };
}
