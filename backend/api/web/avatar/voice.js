// The sentence that sounds now: where it is, and what the mouth does there.
//
// The backend says when a sentence begins (`playback.started`) and, 10-20 times a second, how far it has come
// (`playback.position`). Between those the page's own clock goes on. An event says when it was made (`at`), so one that was held
// up on its way does not move the mouth: on the same computer both clocks are one; else the least delay that was seen lately is taken
// for what they differ by.

const MOUTH_EDGE_S = 0.03; // a shape comes and goes within this, as lips do
const CLOSE_ENOUGH_MS = 18;
const FAR_MS = 120;
const DELAYS_KEPT = 40;
const QUIET_DBFS = -46;
const LOUD_DBFS = -14;
const LEVEL_HELD_MS = 180;
const IS_HERE = ["127.0.0.1", "localhost", "[::1]"].includes(location.hostname);
const SAME_CLOCK_MS = 5;
const LONGEST_DELAY_MS = 5000;

export class Voice {
  #sentence = null;
  #startMs = 0;
  #delays = [];
  #levelDbfs = -120;
  #levelAt = 0;
  #external = null;

  /** The sentence that sounds, as `playback.started` told it, or null. */
  get sentence() {
    return this.#sentence;
  }

  /** Take the place in the sound from whoever plays it here: a function of performance time giving seconds, or null. */
  follow(position) {
    this.#external = position;
  }

  /** A sentence begins; `event` is `playback.started`. */
  started(event) {
    const heardMs = this.#heardMs(event);
    this.#sentence = { ...event.data, turn_id: event.turn_id };
    this.#startMs = heardMs + (event.data.starts_in_s ?? 0) * 1000;
    this.#external = null;
    this.#levelDbfs = -120;
  }

  /** In the middle of a sentence, from /overlay/state. */
  joined(playing, now = performance.now()) {
    this.#sentence = { ...playing };
    this.#startMs = now - playing.position_s * 1000;
    this.#external = null;
  }

  /** How far it is; `event` is `playback.position`. */
  position(event) {
    const sentence = this.#sentence;
    if (!sentence || sentence.n !== event.data.n || sentence.turn_id !== event.turn_id) return;
    const heardMs = this.#heardMs(event);
    const startMs = heardMs - event.data.position_s * 1000;
    const wrongMs = startMs - this.#startMs;
    // A jump is a fact, a small difference is noise: half of it is believed each time.
    if (Math.abs(wrongMs) > FAR_MS) this.#startMs = startMs;
    else if (Math.abs(wrongMs) > CLOSE_ENOUGH_MS) this.#startMs += wrongMs / 2;
    else this.#startMs += wrongMs / 8;
    this.#levelDbfs = event.data.level_dbfs;
    this.#levelAt = heardMs;
  }

  /** Silence: what was begun is over. */
  finished() {
    this.#sentence = null;
    this.#external = null;
  }

  /** Seconds into the sentence at a moment of performance.now(); null in silence, negative before its first sample. */
  positionAt(now) {
    const sentence = this.#sentence;
    if (!sentence) return null;
    const own = this.#external?.(now);
    const position = own ?? (now - this.#startMs) / 1000;
    return position > sentence.duration_s + 0.25 ? null : position;
  }

  /** How far the mouth is in each shape at a moment; {} = at rest. */
  mouthAt(now) {
    const position = this.positionAt(now);
    if (position === null || position < 0 || position > this.#sentence.duration_s) return {};
    const track = this.#sentence.mouth ?? [];
    if (!track.length) return this.#mouthOfLevel(now);
    const weights = {};
    for (const { viseme, start_s: start, end_s: end, weight } of track) {
      const edge = Math.min(MOUTH_EDGE_S, (end - start) / 2);
      if (position < start - edge || position > end + edge || viseme === "sil") continue;
      const coming = edge > 0 ? (position - start + edge) / (2 * edge) : 1;
      const going = edge > 0 ? (end + edge - position) / (2 * edge) : 1;
      const share = Math.max(0, Math.min(1, coming, going)) * weight;
      weights[viseme] = Math.max(weights[viseme] ?? 0, share);
    }
    return weights;
  }

  /** How loud it is, 0-1, from the mouth where it is known. */
  levelAt(now) {
    const open = Object.values(this.mouthAt(now));
    return open.length ? Math.max(...open) : 0;
  }

  #mouthOfLevel(now) {
    if (now - this.#levelAt > LEVEL_HELD_MS) return {};
    const share = (this.#levelDbfs - QUIET_DBFS) / (LOUD_DBFS - QUIET_DBFS);
    return share > 0 ? { aa: Math.min(1, share) } : {};
  }

  /** When an event was made, in performance time. */
  #heardMs(event) {
    const now = performance.now();
    // Date.now, not timeOrigin: a page in OBS is open for days, in which the system's clock is put right.
    const delay = Date.now() - Date.parse(event.at);
    this.#delays.push(delay);
    if (this.#delays.length > DELAYS_KEPT) this.#delays.shift();
    if (IS_HERE && delay > -SAME_CLOCK_MS && delay < LONGEST_DELAY_MS) return now - delay;
    return now - (delay - Math.min(...this.#delays));
  }
}
