// The microphone's samples as PCM16 in pieces of 32 ms, off the page's own thread.

const PIECE = Math.round(sampleRate / 31.25);

class Pieces extends AudioWorkletProcessor {
  #piece = new Int16Array(PIECE);
  #filled = 0;
  #peak = 0;

  process([channels]) {
    const samples = channels?.[0];
    if (!samples) return true;
    for (const sample of samples) {
      const clipped = Math.max(-1, Math.min(1, sample));
      this.#peak = Math.max(this.#peak, Math.abs(clipped));
      this.#piece[this.#filled++] = Math.round(clipped * 32767);
      if (this.#filled === PIECE) {
        const pcm = this.#piece.buffer;
        this.port.postMessage({ pcm, peak: this.#peak }, [pcm]);
        this.#piece = new Int16Array(PIECE); // the old one went to the page
        this.#filled = this.#peak = 0;
      }
    }
    return true;
  }
}

registerProcessor("luma-pieces", Pieces);
