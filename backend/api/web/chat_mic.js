// The microphone of this browser: heard by the backend through the page's own socket.
//
// Push to talk and open microphone are the same stream: frames are sent while it is wanted, and nothing is sent else. The
// device is let go some seconds after it was used last, so that the browser's mark for an open microphone says the truth.

const RATE_HZ = 16_000;
const LET_GO_MS = 15_000;
const READ_MS = 120_000; // a slow recogniser on a long utterance

export class Mic {
  #luma;
  #told;
  #context = null;
  #node = null;
  #stream = null;
  #isSending = false;
  #opening = null;
  #timer = 0;
  #wish = 0; // each wish outdates the one before

  mode = "off"; // "off" | "open" | "held"

  /** `told` has changed(), level(0-1), problem(words), outcome(answer of listen_end). */
  constructor(luma, told) {
    this.#luma = luma;
    this.#told = told;
  }

  /** Listen whenever somebody speaks, until `off`. */
  async open(conversationId) {
    await this.#begin("open", conversationId, true);
  }

  /** The key of push-to-talk went down. */
  async press(conversationId) {
    if (this.mode === "open") return;
    await this.#begin("held", conversationId, false);
  }

  /** It went up: what was said is read. */
  async release() {
    if (this.mode !== "held") return;
    const wish = ++this.#wish;
    const wasSending = this.#isSending;
    this.#set("off");
    this.#isSending = false;
    this.#rest();
    if (!wasSending) return;
    try {
      const answer = await this.#luma.command("listen_end", {}, { timeoutMs: READ_MS });
      this.#told.outcome(answer);
      if (wish === this.#wish) await this.#luma.command("listen_stop");
    } catch (error) {
      this.#told.problem(error.message);
    }
  }

  /** Listen no more; what was not read yet is dropped. */
  async off() {
    this.#wish += 1;
    const wasSending = this.#isSending;
    this.#isSending = false;
    this.#set("off");
    this.#rest();
    if (wasSending) await this.#luma.command("listen_stop").catch(() => {});
  }

  /** The socket is another one, or the conversation is: listen again where it is listened. */
  async again(conversationId) {
    if (this.mode === "open") await this.open(conversationId);
    else if (this.mode === "held") await this.off();
  }

  async #begin(mode, conversationId, autoEnd) {
    const wish = ++this.#wish;
    clearTimeout(this.#timer);
    this.#isSending = false;
    this.#set(mode);
    try {
      await (this.#opening ??= this.#openDevice());
      if (wish !== this.#wish) return;
      const rate_hz = Math.round(this.#context.sampleRate);
      await this.#luma.command("listen", { rate_hz, conversation_id: conversationId, auto_end: autoEnd });
      if (wish !== this.#wish) return;
      this.#isSending = true;
      this.#told.changed();
    } catch (error) {
      if (wish !== this.#wish) return;
      this.#set("off");
      this.#rest();
      this.#told.problem(inWords(error));
    }
  }

  get isListening() {
    return this.#isSending;
  }

  #set(mode) {
    this.mode = mode;
    this.#told.level(0);
    this.#told.changed();
  }

  async #openDevice() {
    try {
      if (!navigator.mediaDevices?.getUserMedia) {
        const error = new Error();
        error.name = "InsecureContext";
        throw error;
      }
      this.#stream = await navigator.mediaDevices.getUserMedia({
        audio: { channelCount: 1, echoCancellation: true, noiseSuppression: true, autoGainControl: true },
      });
      this.#context = this.#contextFor(this.#stream);
      await this.#context.audioWorklet.addModule("/web/chat_mic_worklet.js");
      const source = this.#context.createMediaStreamSource(this.#stream);
      this.#node = new AudioWorkletNode(this.#context, "luma-pieces", { numberOfInputs: 1, numberOfOutputs: 0 });
      this.#node.port.onmessage = ({ data }) => {
        if (!this.#isSending) return;
        this.#luma.sendSound(data.pcm);
        this.#told.level(data.peak);
      };
      source.connect(this.#node);
      await this.#context.resume();
      this.#stream.getAudioTracks()[0].onended = () => {
        this.off();
        this.#close();
        this.#told.problem("The microphone was unplugged or taken away. Choose another one in the browser, and talk again.");
      };
    } catch (error) {
      this.#close();
      throw error;
    }
  }

  #contextFor(stream) {
    try {
      const context = new AudioContext({ sampleRate: RATE_HZ });
      context.createMediaStreamSource(stream).disconnect();
      return context;
    } catch {
      // Some browsers do not bring a microphone to another rate; the backend does.
      return new AudioContext();
    }
  }

  #rest() {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.mode === "off" && this.#close(), LET_GO_MS);
  }

  #close() {
    this.#node?.disconnect();
    this.#context?.close().catch(() => {});
    for (const track of this.#stream?.getTracks() ?? []) track.stop();
    this.#node = this.#context = this.#stream = this.#opening = null;
  }
}

function inWords(error) {
  switch (error.name) {
    case "InsecureContext":
      return "Browsers give the microphone to safe addresses only: open this page as https://, or on the computer on which Luma runs.";
    case "NotAllowedError":
      return "The browser does not let this page use the microphone. Allow it in the address bar, and talk again.";
    case "NotFoundError":
      return "This device has no microphone. Plug one in, and talk again.";
    case "NotReadableError":
      return "Another program holds the microphone. Close it there, and talk again.";
    default:
      return error.message || String(error);
  }
}
