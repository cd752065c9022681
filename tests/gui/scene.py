"""A whole window on a backend made of a table: fed with events, its requests kept, no thread, no network."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import monotonic
from typing import Any

import orjson
from PIL import Image, ImageDraw

from backend.contracts.entities import STAGE, Character, Personality, Span, Turn
from backend.contracts.events import (
    ChatDelta,
    ChatMessage,
    ChatResponse,
    ChatSentence,
    Event,
    PlaybackFinished,
    PlaybackPosition,
    PlaybackStarted,
    SpeechReady,
    TurnFinished,
    TurnStarted,
)
from backend.contracts.listening import InputDeviceInfo, ListeningState
from backend.contracts.settings import SettingInfo
from frontend.client import Connection, Failed, Failure, Then
from frontend.gui import MainWindow
from frontend.window_state import write_state
from tests.gui.root import shared_root
from tests.gui.stand import Answer, TableBackend

AT = datetime(2026, 3, 14, 20, 14, 2, tzinfo=UTC)

HOSHI = Character(
    id="hoshi",
    name="Hoshi Kitsune",
    profile="A star fox who counts things and loses count.",
    personality=Personality(mood="curious", energy=0.72),
    greeting="[joy] There you are! What do they call you?",
    expressions=("neutral", "joy", "smug", "shy", "angry", "sleepy"),
)
INPUTS = [
    InputDeviceInfo(name="Shure MV7", is_default=True, host_api="ALSA"),
    InputDeviceInfo(name="Webcam C920", host_api="ALSA"),
]
OFF = {"state": "off", "device_now": "", "rate_hz": 0}
SUMI = Character(id="sumi", name="Professor Sumi", profile="An owl with a library.")


def provider_setting(locked: str = "") -> SettingInfo:
    return SettingInfo(
        name="LLM_PROVIDER",
        group="Thinking",
        meaning="Engine that answers.",
        kind="choice",
        value="persona",
        default="auto",
        allowed="one of auto, persona, openai",
        choices=("auto", "persona", "openai"),
        locked=locked,
    )


def face(color: str) -> bytes:
    """A small picture of one colour."""
    image = Image.new("RGB", (64, 64), color)
    ImageDraw.Draw(image).ellipse((16, 16, 48, 48), fill="white")
    out = io.BytesIO()
    image.save(out, "PNG")
    return out.getvalue()


def wire(value: Any) -> Any:
    """A contract value as it comes over the wire."""
    if isinstance(value, list):
        return [wire(item) for item in value]
    return orjson.loads(value.model_dump_json())


class SceneBackend(TableBackend):
    """Answers through the inbox, as the real client does."""

    def __init__(self, answers: Mapping[str, Answer] | None = None) -> None:
        usual: dict[str, Answer] = {
            "GET /api/characters": wire([HOSHI, SUMI]),
            "GET /api/conversations/stage": {"id": STAGE, "character_id": "hoshi"},
            "GET /api/conversations/stage/history": [],
            "GET /api/config": wire([provider_setting()]),
            "GET /api/status": {"services": []},
            "GET /api/turns": [],
            "GET /api/devices": {
                "outputs": [{"name": "Virtual Cable (stream)", "is_default": True}],
                "output": {
                    "sink": "speaker",
                    "device": "",
                    "volume": 0.72,
                    "muted": False,
                    "problem": "",
                },
                "inputs": wire(INPUTS),
            },
            "GET /api/listening": lambda _: wire(self.listening),
            "POST /api/audio/input": self._set_listening,
            "POST /api/listening/talk": self._talk,
        }
        self.listening = ListeningState()
        super().__init__({**usual, **(answers or {})})
        self.files: dict[str, bytes] = {
            "/api/avatars/hoshi/neutral.png": face("#1E7FA6"),
            "/api/avatars/sumi/neutral.png": face("#7A4E8F"),
        }
        self.commands: list[tuple[str, dict[str, Any]]] = []
        self.refuses: Failure | None = None
        self.closed = False

    def start(self) -> None:
        self.connect()

    def close(self) -> None:
        self.closed = True

    def connect(self, *, reset: bool = True) -> None:
        self.connection = Connection("connected", self.base_url, version="0.1.0", reset=reset)
        self.inbox.append(self.connection)

    def lose(self) -> None:
        self.connection = Connection("lost", self.base_url, "No backend answers.")
        self.inbox.append(self.connection)

    def say(self, *events: Event) -> None:
        """Events arrive."""
        self.inbox.extend(events)
        self.received += len(events)

    def command(
        self,
        name: str,
        fields: Mapping[str, Any] | None = None,
        then: Then | None = None,
        failed: Failed | None = None,
    ) -> None:
        self.commands.append((name, dict(fields or {})))
        if self.refuses is not None:
            self._deliver(failed, self.refuses)
        else:
            self._deliver(then, {"done": 1, "turn_id": "t"})

    def download(
        self,
        path: str,
        then: Callable[[bytes], None],
        failed: Failed | None = None,
        *,
        timeout_s: float = 120.0,
    ) -> None:
        self.asked.append((f"GET {path}", None))
        data = self.files.get(path)
        if data is None:
            self._deliver(failed, Failure("not_found", f"{path} is not there.", 404))
        else:
            self._deliver(then, data)

    def _answer(self, name: str, given: Any, then: Any, failed: Any) -> None:
        self.asked.append((name, given))
        answer = self.answers.get(name, Failure("not_found", f"{name} is not there.", 404))
        if callable(answer):
            answer = answer(given)
        self._deliver(failed if isinstance(answer, Failure) else then, answer)

    def _set_listening(self, body: Any) -> Any:
        """As the backend does: what was asked for holds, and a microphone that is on listens."""
        now = self.listening.model_copy(update=body)
        on = now.mode != "off"
        name = now.device or INPUTS[0].name
        update = {"state": "listening", "device_now": name, "rate_hz": 48_000} if on else OFF
        self.listening = now.model_copy(update=update)
        return wire(self.listening)

    def _talk(self, body: Any) -> Any:
        self.listening = self.listening.model_copy(update={"is_talking": body["down"]})
        return wire(self.listening)

    def bodies(self, name: str) -> list[Any]:
        """What was sent with each request of that name."""
        return [body for asked, body in self.asked if asked == name]


class Scene:
    """The window and what is behind it."""

    def __init__(self, window: MainWindow, backend: SceneBackend) -> None:
        self.window = window
        self.backend = backend

    @property
    def chat(self) -> Any:
        """The Chat tab."""
        return self.window.tabs["chat"]

    def settle(self, until: Callable[[], bool] | None = None, limit_s: float = 30.0) -> None:
        """Work off the inbox and all idle jobs; wait for a condition where one is given."""
        end = monotonic() + limit_s
        for _ in range(4):
            self.step()
        while (self.backend.inbox or (until is not None and not until())) and monotonic() < end:
            self.step()
        assert until is None or until(), "the window did not get there"

    def step(self) -> None:
        self.window.work()
        self.window.root.update()

    def say(self, *events: Event) -> None:
        """Events arrive and are shown."""
        self.backend.say(*events)
        self.settle()

    def press(self, keys: str, widget: Any = None) -> None:
        """A key reaches a widget, or whatever has the focus."""
        target = widget or self.window.root.focus_get() or self.window.root
        target.focus_force()
        self.window.root.update()
        target.event_generate(keys)
        self.settle()

    @property
    def shown(self) -> str:
        """All words in the messages."""
        words: str = self.chat.view.text.get("1.0", "end")
        return words


@contextmanager
def scene(
    folder: Path,
    answers: Mapping[str, Answer] | None = None,
    *,
    theme: str = "dark",
    scale: float = 1.0,
    size: tuple[int, int] = (1280, 800),
    tab: str = "chat",
    wait: bool = True,
) -> Iterator[Scene]:
    """A window on a table, closed at the end."""
    state = folder / "window.json"
    if not state.exists():
        write_state(state, {"theme": theme, "scale": scale, "size": list(size), "tab": tab})
    backend = SceneBackend(answers)
    window = MainWindow(backend, state, shared_root())
    made = Scene(window, backend)
    try:
        if wait:
            made.settle(lambda: window.stage.character is not None)
        yield made
    finally:
        window.close()


def spans(*parts: tuple[str, str, float]) -> tuple[Span, ...]:
    """Contiguous spans from (name, stage, ms)."""
    out = []
    at = 0.0
    for name, stage, ms in parts:
        out.append(Span(name=name, stage=stage, start_ms=at, duration_ms=ms, detail="persona"))
        at += ms
    return tuple(out)


USUAL = spans(
    ("queue", "wait", 8),
    ("stt", "stt", 160),
    ("prompt", "prompt", 10),
    ("llm_first_token", "llm", 240),
    ("first_sentence", "llm", 142),
    ("tts", "tts", 231),
    ("first_audio", "playback", 60),
    ("speaking", "playback", 3000),
)
SLOW = spans(
    ("queue", "wait", 8),
    ("stt", "stt", 160),
    ("prompt", "prompt", 10),
    ("llm_first_token", "llm", 600),
    ("first_sentence", "llm", 142),
    ("tts", "tts", 240),
    ("first_audio", "playback", 60),
    ("speaking", "playback", 3000),
)


def stored_turn(number: int, message: str, reply: str, **changes: Any) -> Turn:
    """A turn as the history has it."""
    fields: dict[str, Any] = {
        "id": f"t{number}",
        "conversation_id": STAGE,
        "character_id": "hoshi",
        "number": number,
        "author": "you",
        "source": "window",
        "message": message,
        "reply": reply,
        "outcome": "done",
        "first_audio_ms": 851.0,
        "total_ms": 3851.0,
        "started_at": AT + timedelta(seconds=30 * number),
        "spans": USUAL,
    }
    return Turn(**{**fields, **changes})


def asked(turn: str, text: str, seconds: float = 0, **changes: Any) -> ChatMessage:
    at = AT + timedelta(seconds=seconds)
    fields = {"author": "you", "origin": "window", "conversation_id": STAGE, **changes}
    return ChatMessage(turn_id=turn, text=text, at=at, **fields)


def started(turn: str, number: int, seconds: float = 0) -> TurnStarted:
    return TurnStarted(
        turn_id=turn,
        number=number,
        origin="window",
        conversation_id=STAGE,
        character_id="hoshi",
        at=AT + timedelta(seconds=seconds),
    )


def delta(turn: str, text: str) -> ChatDelta:
    return ChatDelta(turn_id=turn, text=text, conversation_id=STAGE)


def sentence(turn: str, n: int, text: str, emotion: str = "") -> ChatSentence:
    return ChatSentence(
        turn_id=turn, n=n, text=text, emotion=emotion, conversation_id=STAGE, character_id="hoshi"
    )


def ready(turn: str, n: int, text: str) -> SpeechReady:
    return SpeechReady(
        turn_id=turn,
        n=n,
        text=text,
        url=f"/api/audio/{turn}/{n}",
        duration_s=2.0,
        engine="embedded",
        voice="en-us+f3",
        elapsed_ms=120,
        conversation_id=STAGE,
    )


def playing(turn: str, n: int, text: str) -> PlaybackStarted:
    return PlaybackStarted(
        turn_id=turn,
        n=n,
        text=text,
        url=f"/api/audio/{turn}/{n}",
        duration_s=2.0,
        sink="speaker",
        conversation_id=STAGE,
    )


def at(turn: str, n: int, position_s: float, level: float = -14.0) -> PlaybackPosition:
    return PlaybackPosition(
        turn_id=turn,
        n=n,
        position_s=position_s,
        duration_s=2.0,
        level_dbfs=level,
        conversation_id=STAGE,
    )


def silent(turn: str, heard: str, *, interrupted: bool = False) -> PlaybackFinished:
    return PlaybackFinished(
        turn_id=turn, heard=heard, interrupted=interrupted, conversation_id=STAGE
    )


def remembered(turn: str, text: str, emotion: str = "") -> ChatResponse:
    return ChatResponse(
        turn_id=turn, text=text, emotion=emotion, conversation_id=STAGE, character_id="hoshi"
    )


def finished(
    turn: str,
    number: int,
    outcome: str = "done",
    parts: tuple[Span, ...] = USUAL,
    seconds: float = 0,
) -> TurnFinished:
    first = sum(span.duration_ms for span in parts if span.name != "speaking")
    return TurnFinished(
        turn_id=turn,
        number=number,
        outcome=outcome,
        total_ms=sum(span.duration_ms for span in parts),
        first_audio_ms=first if parts else None,
        spans=parts,
        conversation_id=STAGE,
        character_id="hoshi",
        at=AT + timedelta(seconds=seconds),
    )


def whole_turn(
    turn: str,
    number: int,
    question: str,
    answer: list[str],
    emotion: str = "joy",
    parts: tuple[Span, ...] = USUAL,
    seconds: float = 0,
) -> list[Event]:
    """A turn from message to silence."""
    events: list[Event] = [asked(turn, question, seconds), started(turn, number, seconds + 1)]
    for n, text in enumerate(answer, 1):
        events += [delta(turn, text + " "), sentence(turn, n, text, emotion), ready(turn, n, text)]
    for n, text in enumerate(answer, 1):
        events += [playing(turn, n, text), at(turn, n, 1.0)]
    events += [
        silent(turn, " ".join(answer)),
        remembered(turn, " ".join(answer), emotion),
        finished(turn, number, parts=parts, seconds=seconds + 4),
    ]
    return events
