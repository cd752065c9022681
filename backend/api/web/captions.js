// The captions page: the line that is spoken, word by word; its looks come from the address.

import { Captions } from "./captions_view.js";
import { Luma } from "./luma.js";

const luma = new Luma({ types: ["playback.*", "chat.sentence"] });
const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
new Captions(luma, document.getElementById("captions"), new URLSearchParams(location.search), { calm });

// Nothing about the connection is ever shown on stream; whoever looks into the page finds it here.
luma.onState((state) => {
  document.documentElement.dataset.state = state;
});
luma.start();
