// The overlay page: the stage's character, and captions when the address asks for them (?captions=1).

import { Luma } from "./luma.js";

const luma = new Luma({ types: ["avatar.*", "playback.*", "chat.sentence"] });

// Nothing about the connection is ever shown on stream; whoever looks into the page finds it here.
luma.onState((state) => {
  document.documentElement.dataset.state = state;
});
luma.start();
