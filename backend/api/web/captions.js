// The captions page: the line that is spoken, word by word.

import { Luma } from "./luma.js";

const luma = new Luma({ types: ["avatar.*", "playback.*", "chat.sentence"] });

// Nothing about the connection is ever shown on stream; whoever looks into the page finds it here.
luma.onState((state) => {
  document.documentElement.dataset.state = state;
});
luma.start();
