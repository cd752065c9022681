"""The live path, tried piece by piece: microphone, voice detector, recogniser, language model, voice, output.

Each check is given the running part and uses it as a turn does; none of it becomes a message, a turn or a caption.
"""

from __future__ import annotations

import asyncio
import random
import re
from array import array
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from backend.audio import likeness, wav
from backend.clients import loopback
from backend.contracts.entities import Audio, Character, Transcript, VoiceChoice
from backend.contracts.errors import AppError
from backend.contracts.listening import ListeningState
from backend.core import clock
from backend.core.context import checkup_notes
from backend.engines.llm.base import LLM, Message, Prompt
from backend.engines.stt.base import STT
from backend.engines.tts.base import TTS
from backend.engines.vad.base import VAD
from backend.monitoring.doctor import Outcome, broken
from backend.outputs.base import Sink

CLIP = Path(__file__).with_name("checkup_clip.wav")
"""Made by scripts/make_checkup_clip.py."""
CLIP_WORDS = ("one", "two", "three", "four", "five")
CLIP_HZ = 16_000
PAD_S = 0.5
NOISE_S = 2.0
NOISE_DBFS = -45.0
"""A fan on the desk."""

LISTEN_S = 1.5
QUIETEST_DBFS = -90.0
"""A real microphone hisses louder than that: below it is a switch or a permission."""

MOSTLY = 0.3
"""Share of the clip's frames that have to count as speech; half of it is pauses and padding."""
NEVER = 0.05

SLOW = 1.0
"""Seconds of work for a second of speech: beyond it there is always something to wait for."""
AGAIN_S = 5.0
"""Longest first reading after which there is time for a second one, which tells how fast it is when loaded."""
SLOW_TOKEN_S = 3.0
LONGEST_REPLY_CHARS = 200
PLAYED_S = 2.5
ALIKE = 0.7
QUIET_DBFS = -58.0
GAPS_S = 0.3
"""How much longer than its length a sound may take: more was heard as stutter."""
TAIL_S = 0.25
"""A sound server hands a monitor its sound late."""

_DIGITS = {"1": "one", "2": "two", "3": "three", "4": "four", "5": "five"}


@dataclass(slots=True)
class Spoken:
    """What the voice said in this check-up, for the output to play."""

    audio: Audio | None = None


@cache
def clip() -> Audio:
    """The bundled sentence with silence around it, 16 kHz."""
    pcm, rate_hz = wav.read_wav(CLIP.read_bytes())
    pad = bytes(2 * round(PAD_S * rate_hz))
    return Audio(pad + pcm + pad, rate_hz)


# --- hearing ------------------------------------------------------------------------------------------------------


async def microphone(
    record: Callable[[float], Awaitable[Audio]], state: Callable[[], ListeningState]
) -> Outcome:
    """Listen for a moment, as loud as listening hears it; nothing of it is read or kept."""
    now = state()
    try:
        sound = await record(LISTEN_S)
    except AppError as error:
        # Nobody who only types needs one.
        found = broken(error, "ASR_INPUT_DEVICE", state="amber" if now.mode == "off" else "red")
        return replace(found, fix=found.fix or "Choose another microphone, or plug it in again.")
    now = state()
    device = now.device_now or now.device or "the system's microphone"
    level = wav.level_dbfs(sound.pcm)
    peak = max(map(abs, _samples(sound.pcm)), default=0)
    words = f"{sound.duration_s:.1f} s of sound from {device}, {level:.0f} dBFS"
    if sound.duration_s < LISTEN_S / 2:
        return Outcome(
            "red",
            f"Only {sound.duration_s:.2f} s of sound came from {device} in {LISTEN_S:g} s.",
            "Unplug it and plug it in again, or choose another microphone.",
            "ASR_INPUT_DEVICE",
        )
    if level < QUIETEST_DBFS:
        return Outcome(
            "amber",
            f"{device} gives nothing but silence.",
            "Look for a mute switch on the microphone or its cable, and allow Luma to use it in the system's privacy"
            " settings.",
            "ASR_INPUT_DEVICE",
        )
    if peak >= 32767:
        return Outcome(
            "amber",
            f"{words}, cut off at the top",
            "Turn the microphone down in the system's settings, or lower ASR_GAIN_DB.",
            "ASR_GAIN_DB",
        )
    if now.muted:
        return Outcome(
            "amber", f"{words}, but it is muted", "Unmute it in the window.", "ASR_MUTED"
        )
    if now.mode == "off":
        words += "; listening is off and was opened for this only"
    return Outcome("green", words)


async def detector(vad: VAD, wanted: str, threshold: float) -> Outcome:
    """Speech counts as speech; silence and noise do not."""
    sentence = await asyncio.to_thread(clip)
    spoken = await _shares(vad, sentence.pcm, threshold)
    silent = await _shares(vad, bytes(round(2 * NOISE_S * CLIP_HZ)), threshold)
    noisy = await _shares(vad, await asyncio.to_thread(noise), threshold)
    words = f"{vad.name}: {spoken:.0%} of a spoken sentence is speech, {max(silent, noisy):.0%} of silence and noise"
    if spoken < MOSTLY:
        return Outcome(
            "red",
            f"{words}.",
            "Lower ASR_VAD_THRESHOLD (0.5 is usual), or choose the other detector with ASR_VAD.",
            "ASR_VAD_THRESHOLD",
        )
    if max(silent, noisy) > NEVER:
        return Outcome(
            "amber",
            f"{words}: the microphone will hear speech where there is none.",
            "Raise ASR_VAD_THRESHOLD (0.5 is usual), or set ASR_VAD=silero.",
            "ASR_VAD_THRESHOLD",
        )
    if vad.name != wanted:
        return Outcome(
            "amber",
            f"{words}; {wanted} cannot be used and {vad.name} does its work",
            "Run `python3 launch.py` once: it installs what silero needs. The log says what failed.",
            "ASR_VAD",
        )
    return Outcome("green", words)


async def _shares(vad: VAD, pcm: bytes, threshold: float) -> float:
    """Share of frames that count as speech."""
    vad.reset()
    found: list[float] = []
    step = 2 * vad.frame_samples
    whole = len(pcm) // step * step
    found = await vad.probabilities(pcm[:whole])
    return sum(value >= threshold for value in found) / max(1, len(found))


@cache
def noise() -> bytes:
    """White noise, the same every time."""
    dice = random.Random(1)  # noqa: S311  noise, not a secret
    height = 32768 * 10 ** (NOISE_DBFS / 20)
    return array(
        "h", (round(dice.gauss(0, height)) for _ in range(round(NOISE_S * CLIP_HZ)))
    ).tobytes()


async def recogniser(stt: STT) -> Outcome:
    """Read the bundled sentence; slow at first, because the model may have to be loaded."""
    notes = _take_notes()
    sound = await asyncio.to_thread(clip)
    began_s = clock.monotonic_s()
    try:
        transcript = await stt.transcribe(sound, "en")
    except AppError as error:
        found = broken(error, "STT_CHAIN")
        return replace(found, fix=found.fix or "Choose a recogniser that works with STT_CHAIN.")
    took_s = clock.monotonic_s() - began_s
    first = ""
    if sound.duration_s < took_s < AGAIN_S:
        first = f" (the first time {took_s:.1f} s)"
        began_s = clock.monotonic_s()
        transcript = await stt.transcribe(sound, "en")
        took_s = clock.monotonic_s() - began_s
    right = words_read(transcript)
    speed = took_s / sound.duration_s
    words = (
        f"{transcript.engine} read “{transcript.text}” in {took_s * 1000:.0f} ms,"
        f" 1 s of speech takes {speed:.2f} s{first}"
    )
    if not right:
        return Outcome(
            "red",
            f"{words}; “{' '.join(CLIP_WORDS)}” was said.",
            "Choose another recogniser with STT_CHAIN, or download a Whisper model on the page Voices (Voice tab).",
            "STT_CHAIN",
        )
    if right < len(CLIP_WORDS) - 1:
        return Outcome(
            "amber",
            f"{words}; {right} of {len(CLIP_WORDS)} words are right.",
            "A larger Whisper model reads better: download one on the page Voices (Voice tab) and set WHISPER_MODEL.",
            "WHISPER_MODEL",
        )
    if notes:
        return Outcome(
            "amber", f"{words}. {notes[0]}", "The next recogniser reads meanwhile.", "STT_CHAIN"
        )
    if speed > SLOW:
        return Outcome(
            "amber",
            f"{words}: slower than people speak.",
            "Choose a smaller model with WHISPER_MODEL, put sphinx first in STT_CHAIN, or close what keeps the computer"
            " busy.",
            "WHISPER_MODEL",
        )
    return Outcome("green", words)


def words_read(transcript: Transcript) -> int:
    """How many words of the bundled sentence were read, in any spelling and in their order."""
    read = [_DIGITS.get(word, word) for word in re.findall(r"[a-z]+|\d", transcript.text.lower())]
    count = 0
    for word in CLIP_WORDS:
        if word in read:
            read = read[read.index(word) + 1 :]
            count += 1
    return count


# --- answering ----------------------------------------------------------------------------------------------------


async def mind(llm: LLM, wanted: str, problem: str, character: Character) -> Outcome:
    """A short question to whoever answers, through the same chain and timeouts as a turn.

    Args:
        llm: The chain of language models.
        wanted: Name of the first of them.
        problem: Why the configured one was left out at the start; empty = it was not.
        character: Who is on stage, for the built-in persona.
    """
    notes = _take_notes()
    prompt = Prompt(
        (
            Message("system", "You are being tested. Answer with one very short sentence."),
            Message("user", "Say hello."),
        ),
        character=character,
        conversation_id="checkup",
        max_tokens=24,
        temperature=0.0,
    )
    began_s = clock.monotonic_s()
    first_s: float | None = None
    by = ""
    text = ""
    async with aclosing(llm.stream(prompt)) as deltas:
        async for delta in deltas:
            by = delta.by or by
            if delta.text and first_s is None:
                first_s = clock.monotonic_s() - began_s
            text += delta.text
            if len(text) > LONGEST_REPLY_CHARS:
                break
    if first_s is None or not text.strip():
        return Outcome(
            "red",
            f"{by or wanted} answered with nothing.",
            "Choose another model with LLM_MODEL, or another LLM_PROVIDER.",
            "LLM_MODEL",
        )
    engine, _, model = by.partition(", model ")
    words = f"{engine}{f', model {model},' if model else ''} answers after {first_s * 1000:.0f} ms"
    if engine != wanted or problem:
        why = problem or (notes[0] if notes else "The log says why.")
        return Outcome(
            "amber",
            f"{engine} answers instead of {wanted}. {why}",
            "Correct what is named, or choose who answers with LLM_PROVIDER.",
            _setting_in(why) or "LLM_PROVIDER",
        )
    if notes:
        return Outcome("amber", f"{words}, but only when asked again. {notes[0]}")
    if first_s > SLOW_TOKEN_S:
        return Outcome(
            "amber",
            f"{words}: every reply begins so late.",
            "Choose a faster model with LLM_MODEL, or another LLM_PROVIDER.",
            "LLM_MODEL",
        )
    if engine == "persona":
        words += "; no provider is asked"
    return Outcome("green", words)


async def voice(tts: TTS, choice: VoiceChoice, spoken: Spoken) -> Outcome:
    """Let the character on stage say the time: a sentence that no cache knows.

    Args:
        tts: The chain of speech engines.
        choice: The character's voice.
        spoken: Where the sound is kept for the output.
    """
    notes = _take_notes()
    now = clock.now().astimezone()
    text = f"Sound check. It is {now:%H} {now:%M} and {now.second} seconds."
    began_s = clock.monotonic_s()
    made = await tts.synthesize(text, choice)
    took_s = clock.monotonic_s() - began_s
    if made.engine == "silence":
        why = notes[0] if notes else "No speech engine has a voice."
        return Outcome(
            "red",
            f"She cannot speak. {why}",
            "Add embedded, which needs nothing, to TTS_CHAIN; or train or import a voice in the Voice tab.",
            "TTS_CHAIN",
        )
    level = wav.level_dbfs(made.audio.pcm)
    length_s = made.audio.duration_s
    speed = took_s / length_s if length_s else 0.0
    words = (
        f"{made.engine}, voice {made.voice}: {length_s:.1f} s in {took_s * 1000:.0f} ms,"
        f" 1 s takes {speed:.3f} s; {level:.0f} dBFS"
    )
    if level < QUIET_DBFS or length_s < 0.5:
        return Outcome(
            "red",
            f"{words}: nothing to hear.",
            "Choose another voice for the character.",
            tab="voice",
        )
    spoken.audio = made.audio
    if choice.engine and made.engine != choice.engine:
        why = notes[0] if notes else f"{choice.engine} has no voice {choice.name!r}."
        return Outcome(
            "amber",
            f"{made.engine} speaks instead of the character's own voice. {why}",
            "Choose another voice for the character, or bring the voice back in the Voice tab.",
            _setting_in(why),
            "voice",
        )
    if notes:
        return Outcome("amber", f"{words}. {notes[0]}", "", _setting_in(notes[0]))
    if speed > SLOW:
        return Outcome(
            "amber",
            f"{words}: slower than it is spoken, so there will be gaps.",
            "Choose a smaller voice, or put embedded first in TTS_CHAIN.",
            "TTS_CHAIN",
        )
    return Outcome("green", words)


# --- being heard --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Stage:
    """The stage's output.

    Attributes:
        sink: Plays.
        device: Chosen by name, empty = the system's.
        volume: 0-1.
        is_muted: Whether nothing is to be heard.
        pages: Overlay pages that would play it.
    """

    sink: Sink
    device: str
    volume: float
    is_muted: bool
    pages: int = 0


async def output(
    stage: Stage,
    spoken: Spoken,
    listen: Callable[[str], Awaitable[loopback.Recording | None]] = loopback.listen,
) -> Outcome:
    """Play what was said on the stage's device, and listen to a loopback of it where there is one.

    Goes to the sink and not to the player, whose events reach captions and overlays.

    Raises:
        EngineUnavailableError: There is no such device, or it cannot be opened, with what to do.
    """
    sink = stage.sink
    device = stage.device or "the system's output"
    if sink.name == "none":
        return Outcome(
            "amber",
            "AUDIO_SINK is none: replies are shown and not heard on this computer.",
            "Set AUDIO_SINK=speaker to hear her here.",
            "AUDIO_SINK",
        )
    if stage.is_muted or stage.volume <= 0:
        what = "muted" if stage.is_muted else "turned down to 0"
        return Outcome(
            "amber",
            f"The stage is {what}: nothing can be heard.",
            "Turn it up in the Chat tab.",
            "OUTPUT_MUTED" if stage.is_muted else "OUTPUT_VOLUME",
        )
    if sink.name == "overlay":
        # What is said on the way of a check-up reaches no page: it would be heard on stream.
        if stage.pages:
            pages = f"{stage.pages} overlay page{'s'[: stage.pages != 1]}"
            return Outcome("green", f"AUDIO_SINK is overlay: {pages} can play the stage.")
        return Outcome(
            "amber",
            "AUDIO_SINK is overlay, and no overlay page is connected: nobody hears her.",
            "Open the overlay page, or set AUDIO_SINK=speaker.",
            "AUDIO_SINK",
        )
    if spoken.audio is None:
        return Outcome("left_out", "Without a voice there is nothing to play.")
    size = 2 * round(PLAYED_S * spoken.audio.rate_hz)
    sound = Audio(spoken.audio.pcm[:size], spoken.audio.rate_hz)
    recording = await listen(stage.device)
    try:
        if recording is not None and not await recording.begun():
            await recording.close()
            recording = None
        began_s = clock.monotonic_s()
        first_s: list[float] = []

        def progress(position_s: float, _level: float) -> None:
            if not first_s:
                first_s.append(clock.monotonic_s() - began_s - position_s)

        is_over = False
        try:
            heard_s = await sink.play(sound, progress)
            is_over = True
            late_s = clock.monotonic_s() - began_s - (first_s[0] if first_s else 0.0) - heard_s
        finally:
            if not is_over:
                sink.stop()
        if recording is not None:
            await asyncio.sleep(TAIL_S)
    finally:
        if recording is not None:
            await recording.close()
    words = f"{heard_s:.1f} s played on {device}"
    if first_s:
        words += f", begun after {max(0.0, first_s[0]) * 1000:.0f} ms"
    if heard_s < sound.duration_s - 0.2:
        return Outcome(
            "red",
            f"{words}, of {sound.duration_s:.1f} s.",
            "Choose another output device in the Chat tab.",
            "OUTPUT_DEVICE",
        )
    if late_s > GAPS_S:
        return Outcome(
            "amber",
            f"{words}, with gaps of {late_s:.1f} s in all.",
            "The computer is too busy: close other programs, or let a training wait.",
        )
    if recording is None:
        return Outcome(
            "green", f"{words}; it cannot be heard back here: did you hear “Sound check”?"
        )
    if recording.is_muted:
        return Outcome(
            "red",
            f"{words}, but the system has muted it or turned it down to 0.",
            "Turn it up in the system's sound settings.",
        )
    found = await asyncio.to_thread(
        likeness.find, sound.pcm, sound.rate_hz, bytes(recording.pcm), recording.rate_hz
    )
    if found.level_dbfs < QUIET_DBFS:
        return Outcome(
            "red",
            f"{words}, but {recording.source} hears nothing.",
            "The system has turned Luma down or sends it elsewhere: look at its sound settings, or choose another device.",
            "OUTPUT_DEVICE",
        )
    if found.correlation < ALIKE:
        return Outcome(
            "amber",
            f"{words}; {recording.source} hears something else ({found.correlation:.0%} alike, {found.level_dbfs:.0f} dBFS).",
            "Stop other programs that play sound and try again.",
            "OUTPUT_DEVICE",
        )
    return Outcome(
        "green",
        f"{words}, heard back at {found.level_dbfs:.0f} dBFS on {recording.source} ({found.correlation:.0%} alike)",
    )


def _take_notes() -> list[str]:
    """Failures on the way of this check, gathered from now on."""
    notes: list[str] = []
    checkup_notes.set(notes)
    return notes


def _setting_in(words: str) -> str:
    """A setting that a message names; empty when it names none."""
    found = re.search(r"\b[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+\b", words)
    return found.group() if found else ""


def _samples(pcm: bytes) -> array[int]:
    samples = array("h")
    samples.frombytes(pcm[: len(pcm) // 2 * 2])
    return samples
