// Hair and clothes of a Live2D model (physics3.json): strands of points that hang from the head and lag behind its movement.
//
// Parameters move and turn the root of a strand; each point keeps its distance from the one above, falls, and is slowed by the
// air; where the points end up moves other parameters.

const MOST_STRANDS = 256;
const MOST_POINTS = 64;
const FRAMES_PER_S = 30; // the unit of time in which models state their delays
const AIR = 5;
const STILL = 0.001; // part of the strand's greatest movement that counts as none

const number = (value, other = 0) => (Number.isFinite(value) ? value : other);
const list = (value, most) => (Array.isArray(value) ? value.slice(0, most) : []);
const radians = (degrees) => (degrees * Math.PI) / 180;

export class Physics {
  #strands;
  #wind;

  /** From a parsed physics3.json. */
  constructor(file) {
    const wind = file?.Meta?.EffectiveForces?.Wind;
    this.#wind = { x: number(wind?.X), y: number(wind?.Y) };
    this.#strands = list(file?.PhysicsSettings, MOST_STRANDS).map(strandOf).filter((each) => each.points.length > 1);
  }

  /** Move on by `step` seconds; `index` leads from a parameter's id to its number. */
  run(step, parameters, index) {
    for (const strand of this.#strands) {
      const root = pulled(strand, parameters, index);
      swing(strand, root, this.#wind, step);
      for (const output of strand.outputs) apply(strand, output, parameters, index);
    }
  }
}

function strandOf(found) {
  const range = (name) => {
    const given = found?.Normalization?.[name];
    return { least: number(given?.Minimum, -10), middle: number(given?.Default), most: number(given?.Maximum, 10) };
  };
  let y = 0;
  const points = list(found?.Vertices, MOST_POINTS).map((vertex, n) => {
    const radius = number(vertex?.Radius);
    y += n ? radius : 0;
    return {
      x: 0, y, vx: 0, vy: 0, radius,
      mobility: number(vertex?.Mobility, 1), delay: number(vertex?.Delay, 1), pull: number(vertex?.Acceleration, 1),
    };
  });
  return {
    points,
    turned: 0, // of the root, before
    position: range("Position"),
    angle: range("Angle"),
    inputs: list(found?.Input, 64).map((each) => ({
      id: each?.Source?.Id, share: number(each?.Weight) / 100, kind: each?.Type, isReversed: Boolean(each?.Reflect),
    })),
    outputs: list(found?.Output, 64).map((each) => ({
      id: each?.Destination?.Id, point: number(each?.VertexIndex), scale: number(each?.Scale, 1),
      share: number(each?.Weight, 100) / 100, kind: each?.Type, isReversed: Boolean(each?.Reflect),
    })),
  };
}

/** Where the parameters put the root: {x, y, angle in degrees}. */
function pulled(strand, parameters, index) {
  const root = { x: 0, y: 0, angle: 0 };
  for (const input of strand.inputs) {
    const n = index.get(input.id);
    if (n === undefined) continue;
    const range = input.kind === "Angle" ? strand.angle : strand.position;
    const value = stretched(parameters, n, range) * (input.isReversed ? 1 : -1) * input.share;
    if (input.kind === "X") root.x += value;
    else if (input.kind === "Y") root.y += value;
    else root.angle += value;
  }
  const turn = radians(-root.angle);
  const { x, y } = root;
  return { x: x * Math.cos(turn) - y * Math.sin(turn), y: x * Math.sin(turn) + y * Math.cos(turn), angle: root.angle };
}

/** A parameter's value on the strand's own scale. */
function stretched(parameters, n, { least, middle, most }) {
  const [low, high] = [parameters.minimumValues[n], parameters.maximumValues[n]];
  const centre = (low + high) / 2;
  const off = Math.min(high, Math.max(low, parameters.values[n])) - centre;
  const half = (high - low) / 2;
  if (!off || !half) return middle;
  return middle + (off / half) * (off > 0 ? Math.max(least, most) - middle : middle - Math.min(least, most));
}

function swing(strand, root, wind, step) {
  const { points } = strand;
  Object.assign(points[0], { x: root.x, y: root.y });
  if (step <= 0) return;
  const turn = radians(root.angle);
  const down = { x: Math.sin(turn), y: Math.cos(turn) };
  const dragged = (turn - strand.turned) / -AIR; // the air holds the strand back when its root turns
  strand.turned = turn;
  const still = STILL * Math.abs(strand.position.most);
  for (let n = 1; n < points.length; n += 1) {
    const [above, point] = [points[n - 1], points[n]];
    const time = point.delay * step * FRAMES_PER_S;
    const before = { x: point.x, y: point.y };
    const [dx, dy] = [point.x - above.x, point.y - above.y];
    const x = dx * Math.cos(dragged) - dy * Math.sin(dragged) + point.vx * time + (down.x * point.pull + wind.x) * time * time;
    const y = dx * Math.sin(dragged) + dy * Math.cos(dragged) + point.vy * time + (down.y * point.pull + wind.y) * time * time;
    const length = Math.hypot(x, y) || 1;
    point.x = above.x + (x / length) * point.radius;
    point.y = above.y + (y / length) * point.radius;
    if (Math.abs(point.x) < still) point.x = 0;
    if (time) {
      point.vx = ((point.x - before.x) / time) * point.mobility;
      point.vy = ((point.y - before.y) / time) * point.mobility;
    }
  }
}

function apply(strand, { id, point, scale, share, kind, isReversed }, parameters, index) {
  const n = index.get(id);
  const { points } = strand;
  if (n === undefined || point < 1 || point >= points.length) return;
  const x = points[point].x - points[point - 1].x;
  const y = points[point].y - points[point - 1].y;
  let value;
  if (kind === "X") value = x;
  else if (kind === "Y") value = y;
  else {
    const [px, py] = point >= 2 ? [points[point - 1].x - points[point - 2].x, points[point - 1].y - points[point - 2].y] : [0, 1];
    // How far this piece hangs out of line with the one above; counted as screens do, y downwards.
    value = Math.atan2(y, x) - Math.atan2(py, px);
    value = Math.atan2(Math.sin(value), Math.cos(value));
  }
  if (isReversed) value = -value;
  value = Math.min(parameters.maximumValues[n], Math.max(parameters.minimumValues[n], value * scale));
  const part = Math.min(1, Math.max(0, share));
  parameters.values[n] = parameters.values[n] * (1 - part) + value * part;
}
