// What draws an avatar: the interface of picture.js, puppet.js, vrm.js and live2d.js, and how one is chosen.
//
// Each of these modules exports `create()`, which returns a renderer:
//
//   async load(rig, element)   Show `rig` (GET /api/rigs/{id}: {id, kind, title, url, settings_url, expressions, motions,
//                              visemes, …}) inside `element`, an empty block that fills its place; fit it, centred, standing on
//                              the lower edge, transparent around it. Resolves when the neutral face is on the page;
//                              throws Error with words for the log when it cannot be shown.
//   setExpression(name, transition, ms)
//                              The face `name` (one of rig.expressions or "neutral"; anything else is neutral).
//                              transition: "instant" | "smooth" (even) | "ease-in-out"; ms: how long it takes.
//   playMotion(motion, {loop}) motion: {group, index, name} of the rig, or null: back to idling. One at a time; the new one
//                              takes over from wherever the old one is. With loop it repeats until the next call;
//                              without, it ends by itself and idling goes on.
//   setMouth(weights)          How far the mouth is in each shape: {aa: 0.8, PP: 0.1}, of the fifteen visemes, each 0-1; what is
//                              not in it is 0; {} = closed, at rest (the face's own mouth). Called once a frame before tick.
//   tick(now)                  Draw the moment `now` (ms, of performance.now(), monotonic): blinking, breathing, swaying and
//                              physics belong to the renderer and run by this clock alone, so a test can move it.
//   dispose()                  Remove everything from `element` and from memory.
//
// Optional: setSpeaking(level)  How loud she is right now, 0-1, for avatars without a mouth.
//           calm                true when the person prefers reduced motion; set by the stage before load. No swaying, no
//                              bouncing then; blinking and the mouth stay.
//
// Every file is fetched from the same origin with the page's cookie; relative addresses in a model work. Nothing of a rig may
// become markup or script: draw with img, canvas, style properties and textContent.

const MODULES = {
  picture: () => import("./picture.js"),
  puppet: () => import("./puppet.js"),
  vrm: () => import("./vrm.js"),
  live2d: () => import("./live2d.js"),
};

/** A new renderer for a kind of rig; its module is loaded when it is needed for the first time. */
export async function rendererFor(kind) {
  const load = Object.hasOwn(MODULES, kind) ? MODULES[kind] : null;
  if (!load) throw new Error(`this page cannot draw a rig of kind ${JSON.stringify(kind)}`);
  return (await load()).create();
}
