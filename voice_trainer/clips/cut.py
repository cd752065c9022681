"""One sound file to clips, block by block: a recording of three hours needs the memory of a minute.

Pure work on files, without processes: `voice_trainer.clips.pool` runs it where a crash costs one file.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from backend.audio.clip_edit import TARGET_LUFS, faded, write_clip
from backend.audio.clip_grade import grade
from backend.audio.clip_measures import (
    QUIETEST_DBFS,
    decay_rates,
    measure,
    reverberation_s,
    snr_db,
)
from backend.audio.denoise import denoise, noise_power
from backend.audio.errors import AudioError
from backend.audio.highpass import REACH_S, highpass
from backend.audio.levels import FloatArray, frame_levels_dbfs
from backend.audio.loudness import to_lufs
from backend.audio.resample import resample
from backend.audio.stream import SoundStream, open_stream
from voice_trainer.clips import check
from voice_trainer.clips.segment import (
    FRAMES_PER_S,
    Limits,
    Piece,
    Speech,
    find_speech,
    plan,
    quietest,
    runs,
    whole,
)
from voice_trainer.clips.segment import RATE_HZ as SPEECH_HZ

CLIP_HZ = 22_050

BLOCK_S = 60.0  # read before speech is looked for
OPEN_S = 14.0  # at the end of a block, what may still belong to a longer piece
KEPT_BEFORE_S = 1.0  # of sound already cut, for filters and the noise of pauses
LONGEST_TEXT_S = 12.0  # a text that belongs to a whole file stays with it up to here
NOBODY_SPEAKS_S = 3600.0
LONGEST_S = 8 * 3600.0
LEAST_SPEECH_S = 0.4
CUE_SLACK_S = 0.3  # subtitles are timed by hand: the quietest place near the cue's edge is meant
DECAYS_KEPT = 200

Told = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Cue:
    """Text that belongs to a stretch of a file, in seconds."""

    start_s: float
    end_s: float
    text: str


@dataclass(frozen=True, slots=True)
class Order:
    """What to do with one file.

    Attributes:
        upload: Its id.
        path: The file.
        name: What to call it.
        folder: Where clips go.
        text: Said in all of it; empty = unknown.
        text_from: Where the text comes from ("prompt", "import").
        is_whole: One sentence: cut at its ends only.
        cues: Texts with times; when there are any, nothing else is cut out.
        denoise: Lower the noise of every clip, and keep the one from before.
        limits: How long pieces may be.
        skip: Ids of clips that were made before.
    """

    upload: str
    path: str
    name: str
    folder: str
    text: str = ""
    text_from: str = ""
    speaker: str = ""
    emotion: str = ""
    language: str = ""
    is_whole: bool = False
    cues: tuple[Cue, ...] = ()
    denoise: bool = False
    limits: Limits = field(default_factory=Limits)
    skip: frozenset[str] = frozenset()


def cut_file(
    order: Order, sha256: str, tell: Callable[[Told], None], breathe: Callable[[float], None]
) -> Told:
    """Make the clips of one file.

    Args:
        order: What to do.
        sha256: Of the file; with the place it names the clip.
        tell: Given the line of every finished clip.
        breathe: Called after every block with the seconds done; may wait, may raise.

    Returns:
        The figures of the file: ``seconds``, ``clips``, ``speech_s``, ``warnings``, ``measures``.

    Raises:
        AudioError: The file cannot be read; clips told before that stay.
    """
    cutter = _Cutter(order, sha256, tell)
    with open_stream(Path(order.path), name=order.name) as stream:
        cutter.rate_hz = stream.rate_hz
        cutter.source_hz = stream.source_hz
        for block in _blocks(stream, order.name):
            cutter.push(block, stream)
            breathe(stream.read_s)
            if cutter.speech_s == 0 and stream.read_s > NOBODY_SPEAKS_S:
                raise AudioError(
                    f"In the first hour of {order.name} nobody speaks; the rest was not read."
                )
            if stream.read_s > LONGEST_S:
                cutter.warnings.append(
                    f"Only the first {LONGEST_S / 3600:g} hours of {order.name} were used."
                )
                break
        cutter.finish(stream)
        if stream.problem:
            cutter.warnings.append(f"{stream.problem} What came before was used.")
        seconds = stream.read_s
    if order.text and cutter.clips > 1:
        cutter.warnings.append(
            f"The text of {order.name} belongs to all {seconds:.0f} s of it; its {cutter.clips} clips need their own."
        )
    return {
        "seconds": round(seconds, 3),
        "clips": cutter.clips,
        "speech_s": round(cutter.speech_s, 2),
        "warnings": cutter.warnings,
        "measures": cutter.figures(stream, seconds),
    }


def file_sha256(path: Path) -> str:
    """Digest of a file of any size."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _blocks(stream: SoundStream, name: str) -> Iterator[FloatArray]:
    """Blocks of `BLOCK_S`; the last is shorter."""
    waiting: list[FloatArray] = []
    size = 0
    for piece in stream.pieces(name):
        waiting.append(piece)
        size += piece.size
        if size >= BLOCK_S * stream.rate_hz:
            yield np.concatenate(waiting)
            waiting, size = [], 0
    if waiting:
        yield np.concatenate(waiting)


class _Cutter:
    """The clips of one file: holds what is not cut yet, and what is known of the room."""

    def __init__(self, order: Order, sha256: str, tell: Callable[[Told], None]) -> None:
        self.rate_hz = self.source_hz = CLIP_HZ
        self.clips = 0
        self.speech_s = 0.0
        self.warnings: list[str] = []
        self._order = order
        self._sha256 = sha256
        self._tell = tell
        self._held = np.empty(0, np.float32)
        self._first = 0  # sample of the file where `_held` begins
        self._done_s = 0.0  # of the file: everything before is cut
        self._cues = deque(order.cues)
        self._decays: deque[float] = deque(maxlen=DECAYS_KEPT)
        self._rooms: list[float] = []
        self._snrs: list[float] = []
        self._widths: list[float] = []
        self._peak = 0.0
        self._sum = 0.0
        self._samples = 0
        self._clipped_s = 0.0  # of what is done

    def push(self, block: FloatArray, stream: SoundStream) -> None:
        """Take in a block and make the clips that cannot grow any more."""
        self._peak = max(self._peak, float(np.max(np.abs(block))) if block.size else 0.0)
        self._sum += float(block.sum(dtype=np.float64))
        self._samples += block.size
        self._held = np.concatenate((self._held, block))
        # A text for the whole file needs the whole sentence, but never more than a minute of it.
        is_small = self._held.size < (BLOCK_S + OPEN_S) * self.rate_hz
        if not ((self._order.is_whole or self._order.text) and is_small):
            self._cut(stream, is_last=False)

    def finish(self, stream: SoundStream) -> None:
        """Make the rest of the clips."""
        self._cut(stream, is_last=True)

    def figures(self, stream: SoundStream, seconds: float) -> dict[str, float]:
        """Measures of the whole file."""
        found = {
            "rate_hz": float(self.source_hz),
            "channels": float(stream.channels),
            "peak_dbfs": round(20 * float(np.log10(max(self._peak, 1e-6))), 2),
            "dc": round(self._sum / max(self._samples, 1), 6),
            "clipped": round(self._clipped_s / max(seconds, 1e-9), 6),
        }
        if self._rooms:
            found["noise_dbfs"] = round(float(np.median(self._rooms)), 2)
        if self._snrs:
            found["snr_db"] = round(float(np.median(self._snrs)), 2)
            found["bandwidth_hz"] = round(float(np.max(self._widths)), 1)
        if (echo_s := reverberation_s(list(self._decays))) is not None:
            found["echo_s"] = round(echo_s, 3)
        return found

    def _cut(self, stream: SoundStream, *, is_last: bool) -> None:
        speech = find_speech(resample(self._held, self.rate_hz, SPEECH_HZ))
        offset_s = self._first / self.rate_hz
        end_s = offset_s + self._held.size / self.rate_hz
        sure_s = end_s if is_last else end_s - OPEN_S
        self._learn_room(speech)
        if self._order.cues:
            found = self._by_cues(speech, offset_s, sure_s)
        else:
            found = self._by_pauses(speech, offset_s, sure_s, is_last=is_last)
        for piece, text in found:
            self._make(piece, text, speech, offset_s, stream)
        done_s = end_s if is_last else self._done_s
        self._clipped_s += sum(length for at, length in stream.flat_tops if at < done_s)
        stream.flat_tops = [one for one in stream.flat_tops if one[0] >= done_s]
        if is_last:
            self._held = np.empty(0, np.float32)
            return
        keep_from = max(round((self._done_s - KEPT_BEFORE_S) * self.rate_hz), self._first)
        self._held = self._held[keep_from - self._first :].copy()
        self._first = keep_from

    def _by_pauses(
        self, speech: Speech, offset_s: float, sure_s: float, *, is_last: bool
    ) -> list[tuple[Piece, str]]:
        """Pieces that begin after what is done, with times of the file."""
        begin = round((self._done_s - offset_s) * FRAMES_PER_S)
        fresh = speech.is_speech.copy()
        fresh[: max(begin, 0)] = False
        speech = replace(speech, is_speech=fresh)
        text = self._order.text
        one = (
            whole(speech) if is_last and offset_s == 0 and (text or self._order.is_whole) else None
        )
        if one is not None and one.end_s - one.start_s <= LONGEST_TEXT_S:
            self._done_s = one.end_s
            return [(one, text)]
        found: list[tuple[Piece, str]] = []
        for piece in plan(speech, self._order.limits):
            piece = Piece(piece.start_s + offset_s, piece.end_s + offset_s, piece.speech_share)
            if piece.end_s > sure_s:
                break
            found.append((piece, ""))
        heard = np.flatnonzero(fresh)
        if found:
            self._done_s = found[-1][0].end_s
        if not found or heard.size == 0 or heard[-1] / FRAMES_PER_S + offset_s <= self._done_s:
            # Nothing waits to be cut: silence up to the end is done too, unless speech has just begun.
            pending = heard[heard / FRAMES_PER_S + offset_s > self._done_s]
            first_s = float(pending[0]) / FRAMES_PER_S + offset_s if pending.size else sure_s
            self._done_s = max(self._done_s, min(first_s - 0.2, sure_s))
        return found

    def _by_cues(self, speech: Speech, offset_s: float, sure_s: float) -> list[tuple[Piece, str]]:
        """One piece per cue, its edges moved to the quietest place nearby; cues that nobody speaks in are left out."""
        found: list[tuple[Piece, str]] = []
        size_s = speech.is_speech.size / FRAMES_PER_S
        while self._cues and self._cues[0].end_s + CUE_SLACK_S <= sure_s:
            cue = self._cues.popleft()
            edges = []
            for at_s in (cue.start_s, cue.end_s):
                low_s = min(max(at_s - CUE_SLACK_S, self._done_s) - offset_s, size_s)
                high_s = min(at_s + CUE_SLACK_S - offset_s, size_s)
                frame = quietest(speech, round(low_s * FRAMES_PER_S), round(high_s * FRAMES_PER_S))
                edges.append(frame)
            inside = np.zeros_like(speech.is_speech)
            inside[edges[0] : edges[1]] = speech.is_speech[edges[0] : edges[1]]
            one = whole(replace(speech, is_speech=inside))
            if one is None:
                continue
            start_s = max(one.start_s, edges[0] / FRAMES_PER_S) + offset_s
            end_s = min(one.end_s, edges[1] / FRAMES_PER_S) + offset_s
            if end_s - start_s > self._order.limits.never_s:
                self.warnings.append(
                    f"The subtitle at {cue.start_s:.1f} s of {self._order.name} lasts {end_s - start_s:.0f} s; "
                    f"clips have at most {self._order.limits.never_s:g}. It was left out."
                )
                continue
            found.append((Piece(start_s, end_s, one.speech_share), cue.text))
            self._done_s = end_s
        waiting_s = self._cues[0].start_s - CUE_SLACK_S if self._cues else sure_s
        self._done_s = max(self._done_s, min(waiting_s, sure_s))
        return found

    def _learn_room(self, speech: Speech) -> None:
        """What pauses and endings tell of noise and echo in this block."""
        if not speech.is_speech.any():
            return
        self._rooms.append(speech.room_dbfs)
        self._decays.extend(decay_rates(self._held, self.rate_hz, speech.room_dbfs))

    def _make(
        self, piece: Piece, text: str, speech: Speech, offset_s: float, stream: SoundStream
    ) -> None:
        """Write one clip and tell of it."""
        speech_s = piece.speech_share * (piece.end_s - piece.start_s)
        if speech_s < LEAST_SPEECH_S and not text:
            return
        self.clips += 1
        self.speech_s += speech_s
        start, end = round(piece.start_s * self.rate_hz), round(piece.end_s * self.rate_hz)
        uid = self._uid(start, end)
        if uid in self._order.skip:
            return
        raw = self._held[start - self._first : end - self._first]
        reach = round(REACH_S * self.rate_hz)
        left = max(start - self._first - reach, 0)
        around = self._held[left : end - self._first + reach]
        clean = highpass(around, self.rate_hz)[start - self._first - left :][: raw.size]
        noise = self._noise(start, end, speech, offset_s)
        found = self._measures(raw, clean, noise, piece, stream)
        folder = Path(self._order.folder)
        samples = faded(resample(clean, self.rate_hz, CLIP_HZ), CLIP_HZ)
        before = ""
        if self._order.denoise:
            loud, _ = to_lufs(samples, CLIP_HZ, TARGET_LUFS)
            before = f"{uid}.before.wav"
            write_clip(folder / before, loud, CLIP_HZ)
            samples = denoise(
                samples, CLIP_HZ, noise_power(resample(noise, self.rate_hz, CLIP_HZ), CLIP_HZ)
            )
            levels = frame_levels_dbfs(samples, round(0.032 * CLIP_HZ), round(0.01 * CLIP_HZ))
            if levels.size:
                lowered = max(float(np.percentile(levels, 5)), QUIETEST_DBFS)
                found["source_snr_db"] = found["snr_db"]
                found["snr_db"] = round(snr_db(levels, lowered), 2)
                found["noise_dbfs"] = round(lowered, 2)
            found["denoised"] = 1.0
        samples, gain_db = to_lufs(samples, CLIP_HZ, TARGET_LUFS)
        found["lufs"] = round(found["source_lufs"] + gain_db, 2)
        found["gain_db"] = round(gain_db, 2)
        found["noise_dbfs"] = round(max(found["noise_dbfs"] + gain_db, QUIETEST_DBFS), 2)
        if text:
            fits = check.match(text, samples, CLIP_HZ, self._order.language, check.match_cost())
            if fits is not None:
                found["match"] = fits
        digest = write_clip(folder / f"{uid}.wav", samples, CLIP_HZ)
        letter, reasons = grade(found)
        self._snrs.append(found["snr_db"])
        self._widths.append(found["bandwidth_hz"])
        self._tell(
            {
                "uid": uid,
                "path": f"{folder.name}/{uid}.wav",
                "before": f"{folder.name}/{before}" if before else "",
                "upload": self._order.upload,
                "start_s": round(start / self.rate_hz, 4),
                "end_s": round(end / self.rate_hz, 4),
                "duration_s": round(samples.size / CLIP_HZ, 4),
                "text": text,
                "text_from": self._order.text_from if text else "",
                "speaker": self._order.speaker,
                "emotion": self._order.emotion,
                "language": self._order.language,
                "grade": letter,
                "reasons": list(reasons),
                "measures": found,
                "sha256": digest,
            }
        )

    def _measures(
        self,
        raw: FloatArray,
        clean: FloatArray,
        noise: FloatArray,
        piece: Piece,
        stream: SoundStream,
    ) -> dict[str, float]:
        room: float | None = None
        if noise.size:
            levels = frame_levels_dbfs(
                noise, round(0.032 * self.rate_hz), round(0.01 * self.rate_hz)
            )
            if levels.size:
                room = float(np.percentile(levels, 20))
        found = measure(raw, self.rate_hz, clean=clean, noise_dbfs=room, with_echo=False)
        found["source_lufs"] = found["lufs"]
        found["rate_hz"] = float(self.source_hz)
        found["speech_share"] = round(piece.speech_share, 3)
        flat_s = sum(length for at, length in stream.flat_tops if piece.start_s <= at < piece.end_s)
        found["clipped"] = round(flat_s / max(piece.end_s - piece.start_s, 1e-9), 6)
        if (echo_s := reverberation_s(list(self._decays))) is not None:
            found["echo_s"] = round(echo_s, 3)
        return found

    def _noise(self, start: int, end: int, speech: Speech, offset_s: float) -> FloatArray:
        """Sound of the pauses in and around a piece, up to 5 s of it, high-passed."""
        around_s = 10
        low = max(round((start / self.rate_hz - offset_s - around_s) * FRAMES_PER_S), 0)
        high = round((end / self.rate_hz - offset_s + around_s) * FRAMES_PER_S)
        quiet = ~speech.is_speech[low:high]
        parts: list[FloatArray] = []
        for first, last in runs(quiet):
            if last - first < 24:
                continue
            # 50 ms away from speech, where its echo has faded most.
            begin = round((low + first + 5) / FRAMES_PER_S * self.rate_hz)
            stop = round((low + last - 5) / FRAMES_PER_S * self.rate_hz)
            parts.append(self._held[begin:stop])
            if sum(part.size for part in parts) > 5 * self.rate_hz:
                break
        if not parts:
            return np.empty(0, np.float32)
        return highpass(np.concatenate(parts), self.rate_hz)

    def _uid(self, start: int, end: int) -> str:
        """Names a clip by what it is made of: the same file cut at the same place gets the same name again."""
        what = f"{self._sha256}:{start}:{end}:{self.rate_hz}:{int(self._order.denoise)}"
        return hashlib.sha256(what.encode()).hexdigest()[:20]
