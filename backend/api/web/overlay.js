// The overlay page: the stage's character, and captions when the address asks for them.
//
//   ?captions=1   also show captions, with all parameters of /captions
//   ?sound=0      never play sound here (a second view of the same stage, beside the one that OBS records)
//   ?motion=full | calm   sway and bounce whatever the system prefers, or never

import { Stage } from "./avatar/stage.js";
import { Captions } from "./captions_view.js";
import { Luma } from "./luma.js";

const wishes = new URLSearchParams(location.search);
const plays = wishes.get("sound") !== "0";
const prefersCalm = matchMedia("(prefers-reduced-motion: reduce)").matches;
const calm = wishes.get("motion") === "calm" || (prefersCalm && wishes.get("motion") !== "full");

const luma = new Luma({ types: ["avatar.*", "playback.*", "chat.sentence"], plays });
const stage = new Stage(luma, document.getElementById("stage"), { plays, calm });
if (wishes.get("captions") === "1") {
  new Captions(luma, document.getElementById("captions"), wishes, { voice: stage.voice, calm });
}

// Nothing about the connection is ever shown on stream; whoever looks into the page finds it here.
luma.onState((state) => {
  document.documentElement.dataset.state = state;
});
luma.start();

// Measured from outside (benchmarks/overlay_latency.py, the tests); nothing on the page uses it.
globalThis.lumaStage = stage;
