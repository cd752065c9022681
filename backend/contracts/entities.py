"""Values that several layers share: characters, voices, sound, transcripts, turns and their spans.

Frozen. pydantic where they travel over the wire, plain dataclasses where they stay inside.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from pydantic import Field

from backend.contracts.avatar import MouthTime
from backend.contracts.wire import Wire as Wire  # most know it from here

STAGE = "stage"
"""Id of the conversation shared by the window, the microphone, chat platforms and autonomy."""


@dataclass(frozen=True, slots=True)
class Audio:
    """Mono 16-bit sound.

    Attributes:
        pcm: Little-endian int16 samples, two bytes each.
        rate_hz: Samples per second.
    """

    pcm: bytes
    rate_hz: int

    @property
    def duration_s(self) -> float:
        """Length in seconds."""
        return len(self.pcm) / 2 / self.rate_hz if self.rate_hz else 0.0


@dataclass(frozen=True, slots=True)
class PhonemeTime:
    """One phoneme (IPA) and where it lies in the sound, seconds from its start."""

    phoneme: str
    start_s: float
    end_s: float


@dataclass(frozen=True, slots=True)
class Speech:
    """One sentence as sound.

    Attributes:
        audio: The sound.
        engine: Registry name of the engine that made it ("piper"), "silence" when all failed.
        voice: Name of the voice that spoke.
        phonemes: Times of its phonemes, empty when the engine gives none.
        cached: It was spoken before and came from disk.
        mouth: Shapes of the mouth in the time of its sound, once they were worked out.
    """

    audio: Audio
    engine: str
    voice: str
    phonemes: tuple[PhonemeTime, ...] = ()
    cached: bool = False
    mouth: tuple[MouthTime, ...] = ()


@dataclass(frozen=True, slots=True)
class TranscriptSegment:
    """A piece of a transcript with its place in the sound, seconds."""

    text: str
    start_s: float
    end_s: float


@dataclass(frozen=True, slots=True)
class Transcript:
    """What STT read in an utterance.

    Attributes:
        text: The words, empty when nothing was said.
        language: ISO 639-1 code, empty when unknown.
        segments: Pieces with times, in order.
        words: Single words with times, where the engine gives them.
        engine: Registry name of the engine that read it.
        no_speech: How likely the engine thinks that nobody spoke, 0 to 1; the highest of all it read. None = not told.
        log_probability: Mean natural log probability of what it read, 0 = certain; the lowest. None = not told.
        compression: How many times gzip shrinks the text: above 2.4 it is a loop; the highest. None = not told.
        withheld: What the engine read and does not believe itself; no part of the text.
    """

    text: str
    language: str = ""
    segments: tuple[TranscriptSegment, ...] = ()
    engine: str = ""
    words: tuple[TranscriptSegment, ...] = ()
    no_speech: float | None = None
    log_probability: float | None = None
    compression: float | None = None
    withheld: str = ""


class VoiceChoice(Wire):
    """Which voice speaks, and how.

    Attributes:
        engine: Registry name of a speech engine; empty = the first of the chain that works.
        name: Voice within the engine ("en-us+f3" for the embedded one, a file stem for piper); empty = its default.
        speaker: Speaker of a multi-speaker voice.
        rate: Speed, 1.0 is normal.
        pitch: 0-100 for the embedded voice, 50 is its normal; others may ignore it.
        volume: 0-1.
    """

    engine: str = ""
    name: str = ""
    speaker: int | None = Field(None, ge=0)
    rate: float = Field(1.0, ge=0.25, le=4.0)
    pitch: float = Field(50.0, ge=0.0, le=100.0)
    volume: float = Field(1.0, ge=0.0, le=1.0)


class VoiceInfo(Wire):
    """A voice that exists on this machine."""

    engine: str
    name: str
    title: str
    language: str = ""
    speakers: int = 1
    rate_hz: int | None = None
    path: str | None = None
    problem: str | None = None


class Personality(Wire):
    """How a character behaves, in numbers 0-1 and words; the persona engine plays it, an LLM is told it.

    Attributes:
        traits: Name to strength, e.g. {"curious": 0.9, "teasing": 0.4}.
        mood: Mood at rest ("cheerful").
        energy: Energy at rest, 0 sleepy to 1 hyper.
        quirks: Short habits in words ("ends sentences with a small hum").
        likes, dislikes: Things to bring up.
    """

    traits: dict[str, float] = Field(default_factory=dict)
    mood: str = "calm"
    energy: float = Field(0.6, ge=0.0, le=1.0)
    quirks: tuple[str, ...] = ()
    likes: tuple[str, ...] = ()
    dislikes: tuple[str, ...] = ()


class Character(Wire):
    """Name, personality, voice, rig and rules of one character."""

    id: str
    name: str
    profile: str = ""
    personality: Personality = Personality()
    system_prompt: str = ""
    scenario: str = ""
    greeting: str = ""
    alternate_greetings: tuple[str, ...] = ()
    example_dialogue: str = ""
    post_history_instructions: str = ""
    creator: str = ""
    creator_notes: str = ""
    tags: tuple[str, ...] = ()
    language: str = "en"
    persona_style: str = ""
    """Which built-in manner of speaking the persona engine uses; empty = derived from the traits."""
    voice: VoiceChoice = VoiceChoice()
    avatar_url: str = ""
    expressions: tuple[str, ...] = ()
    rig: str = ""
    """Id of the rig that shows it; empty = the one of its own id, else its expression pictures."""
    extensions: dict[str, object] = Field(default_factory=dict)
    """What a card brought along and Luma does not read; kept for export."""
    builtin: bool = False
    created_at: datetime | None = None
    updated_at: datetime | None = None


StageName = Literal["wait", "stt", "prompt", "llm", "tts", "playback"]
"""The six coloured groups a span belongs to."""


class Span(Wire):
    """One contiguous piece of a turn's time.

    Attributes:
        name: "queue", "stt", "prompt", "llm_first_token", "first_sentence", "tts", "first_audio", "speaking" …
        stage: The group it is drawn in.
        start_ms: Milliseconds after the message was received.
        duration_ms: Its length; all spans of a turn sum to its total, ±1 ms.
        detail: The setting, provider or engine behind it ("LLM_PROVIDER=openrouter, model x").
    """

    name: str
    stage: StageName
    start_ms: float
    duration_ms: float
    detail: str = ""


TurnOutcome = Literal["done", "interrupted", "failed", "skipped"]


class Turn(Wire):
    """One message and the reply to it, as stored."""

    id: str
    conversation_id: str
    character_id: str
    number: int
    author: str
    source: str
    message: str
    reply: str
    emotion: str = ""
    outcome: TurnOutcome
    error: str = ""
    first_audio_ms: float | None = None
    total_ms: float
    started_at: datetime
    spans: tuple[Span, ...] = ()
    sentences: tuple[SpokenSentence, ...] = ()


class SpokenSentence(Wire):
    """One sentence of a reply and its sound."""

    n: int
    text: str
    url: str | None = None
    duration_s: float = 0.0
    engine: str = ""
    voice: str = ""


Turn.model_rebuild()


class Conversation(Wire):
    """A history of turns with one active character."""

    id: str
    character_id: str
    title: str = ""
    client_uid: str = ""
    created_at: datetime
    updated_at: datetime
    turns: int = 0


class ChatLog(Wire):
    """One message and its reply as they are remembered: a row of a conversation's history."""

    id: int
    turn_id: str
    conversation_id: str
    character_id: str
    author: str
    message: str
    reply: str
    emotion: str = ""
    audio_file: str | None = None
    outcome: TurnOutcome
    at: datetime
    origin: str = ""


class ModelRecord(Wire):
    """Weights or a voice that were trained or imported here.

    Attributes:
        kind: What it is ("piper", "whisper", "quick-voice").
        model_path: Where the file lies, relative to the models folder when inside it.
        status: "training", "ready", "failed" …
    """

    id: str
    name: str
    kind: str
    model_path: str
    character_id: str | None = None
    status: str
    epochs_trained: int = Field(0, ge=0)
    loss: float | None = None
    details: dict[str, object] = Field(default_factory=dict)
    created_at: datetime
    updated_at: datetime


ServiceState = Literal["off", "starting", "ready", "degraded", "failed"]


class ServiceInfo(Wire):
    """How a module or engine is, in words a streamer understands."""

    name: str
    title: str
    kind: Literal["module", "engine", "storage", "system"] = "module"
    enabled: bool = True
    state: ServiceState
    detail: str = ""
    error: str = ""
    fix: str = ""
    latency_ms: float | None = None


@dataclass(slots=True)
class Usage:
    """Tokens a provider counted for one reply."""

    prompt_tokens: int = 0
    completion_tokens: int = 0


@dataclass(frozen=True, slots=True)
class Cue:
    """A request for an expression or motion found in a reply; fires when its sentence plays."""

    kind: Literal["expression", "motion"]
    name: str
    data: dict[str, object] = field(default_factory=dict)


ModelState = Literal["absent", "partial", "waiting", "downloading", "checking", "ready", "failed"]


class ModelInfo(Wire):
    """A model of the catalogue, and how much of it is on this machine.

    Attributes:
        id: Stable name ("whisper-base", "piper-en_US-amy-medium").
        kind: What reads it: an engine ("whisper", "piper"), or the trainer ("base", a checkpoint to start from).
        licence: Under which terms, in words; ``licence_url`` says more.
        size_bytes: Of all its files.
        received_bytes: Of them already here.
        problem: Why the last download did not succeed, and what to do.
    """

    id: str
    kind: Literal["whisper", "piper", "base"]
    title: str
    about: str = ""
    language: str = ""
    licence: str
    licence_url: str
    size_bytes: int
    state: ModelState
    received_bytes: int = 0
    problem: str = ""
