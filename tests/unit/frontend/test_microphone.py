"""What the window knows of the microphone: how it is said, and in which order it asks."""

from __future__ import annotations

from typing import Any

import pytest

from backend.contracts.entities import STAGE, ServiceInfo
from backend.contracts.events import ListeningChanged, UtteranceDropped, UtteranceStarted
from backend.contracts.listening import DropReason, EchoGuard, ListeningMode, ListeningState
from backend.contracts.settings import SettingInfo
from frontend.client import BackendClient, Failed, Failure, Then
from frontend.microphone import (
    DROP_WORDS,
    GUARD_WORDS,
    MODE_TITLES,
    Microphone,
    dropped_of,
    reader_of,
    setting_of,
    where_words_go,
)
from frontend.widgets.talk import key_name, why_not

OPEN = ListeningState(state="listening", mode="open", device_now="Shure MV7", rate_hz=48_000)
INPUT = "/api/audio/input"
TALK = "/api/listening/talk"


class Line(BackendClient):
    """Keeps requests until they are answered by hand."""

    def __init__(self) -> None:
        super().__init__("http://127.0.0.1:1", "token")
        self.asked: list[tuple[str, Any]] = []
        self.open: list[tuple[str, Any, Then | None, Failed | None]] = []
        self.state = ListeningState()

    def _submit(
        self,
        method: str,
        path: str,
        then: Then | None,
        failed: Failed | None,
        timeout_s: float,
        body: Any = None,
        params: dict[str, str | int | float] | None = None,
    ) -> None:
        self.asked.append((path, body))
        self.open.append((path, body, then, failed))

    def answer(self, failure: Failure | None = None) -> None:
        """The oldest request is answered, as the backend would."""
        path, body, then, failed = self.open.pop(0)
        if failure is not None:
            assert failed is not None
            failed(failure)
            return
        if path == INPUT:
            self.state = self.state.model_copy(update=body)
        if then is not None:
            then(self.state.model_dump(mode="json"))

    def answer_all(self) -> None:
        """Until nothing is open."""
        while self.open:
            self.answer()


class Bench:
    """A microphone without a window."""

    def __init__(self) -> None:
        self.line = Line()
        self.failures: list[str] = []
        self.microphone = Microphone(
            self.line, lambda failure: self.failures.append(failure.message)
        )
        self.is_like()

    def is_like(self, **changes: Any) -> None:
        """The microphone is open, with these changes."""
        self.line.state = OPEN.model_copy(update=changes)
        self.microphone.on_event(ListeningChanged(listening=self.line.state))

    def bodies(self, path: str) -> list[Any]:
        return [body for asked, body in self.line.asked if asked == path]


@pytest.fixture
def b() -> Bench:
    return Bench()


# --- how it is said ---


@pytest.mark.parametrize(
    ("changes", "word", "icon"),
    [
        ({"mode": "off", "state": "off"}, "Mic off", "voice"),
        ({}, "Listening", "mic_on"),
        ({"state": "hearing"}, "Hearing you", "mic_live"),
        ({"state": "reading"}, "Reading", "logs"),
        ({"muted": True}, "Muted", "mic_muted"),
        ({"mode": "push_to_talk"}, "Hold F8", "mic_on"),
        ({"mode": "push_to_talk", "is_talking": True}, "Talk now", "mic_live"),
        ({"state": "starting"}, "Opening", "clock"),
        ({"state": "problem", "problem": "Shure MV7 was unplugged."}, "Mic problem", "warn"),
        ({"mode": "off", "state": "off", "muted": True}, "Mic off", "voice"),
        ({"muted": True, "problem": "It is busy."}, "Mic problem", "warn"),
    ],
)
def test_each_state_has_its_word_and_shape(
    b: Bench, changes: dict[str, Any], word: str, icon: str
) -> None:
    b.is_like(**changes)
    assert (b.microphone.look.word, b.microphone.look.icon) == (word, icon)


def test_no_two_states_differ_by_their_colour_alone(b: Bench) -> None:
    looks = []
    for changes in (
        {"mode": "off", "state": "off"},
        {},
        {"state": "hearing"},
        {"state": "reading"},
        {"muted": True},
        {"problem": "x", "state": "problem"},
    ):
        b.is_like(**changes)
        looks.append(b.microphone.look)
    assert len({look.icon for look in looks}) == len(looks)
    assert len({look.word for look in looks}) == len(looks)


def test_every_reason_mode_and_guard_of_the_contract_has_words() -> None:
    assert set(DROP_WORDS) == set(DropReason.__args__)  # type: ignore[attr-defined]  # a Literal has its values there
    assert set(MODE_TITLES) == set(ListeningMode.__args__)  # type: ignore[attr-defined]  # likewise
    assert set(GUARD_WORDS) == set(EchoGuard.__args__)  # type: ignore[attr-defined]  # likewise


@pytest.mark.parametrize(
    ("detail", "text", "line", "setting"),
    [
        (
            "too short: 120 ms, ASR_MIN_SPEECH_MS=200", "",
            "Not taken: too short: 120 ms, ASR_MIN_SPEECH_MS=200", "ASR_MIN_SPEECH_MS",
        ),
        ("", "", "Not taken: too short", ""),
        ("it was her own voice", "hello", "Not taken: \u201chello\u201d it was her own voice", ""),
    ],
)  # fmt: skip
def test_what_was_not_taken_is_one_line_with_its_setting(
    detail: str, text: str, line: str, setting: str
) -> None:
    event = UtteranceDropped(
        utterance_id="u", reason="too_short", detail=detail, text=text, conversation_id=STAGE
    )
    found = dropped_of(event)
    assert (found.words, found.setting) == (line, setting)


# --- the order of requests ---


def test_a_key_let_go_at_once_never_arrives_the_wrong_way_round(b: Bench) -> None:
    b.is_like(mode="push_to_talk")
    b.microphone.hold(True)
    b.microphone.hold(False)
    assert b.bodies(TALK) == [{"down": True}], "the second waits for the first"
    b.line.answer_all()
    assert b.bodies(TALK) == [{"down": True}, {"down": False}]


def test_a_closed_microphone_is_opened_before_it_is_talked_to(b: Bench) -> None:
    b.is_like(mode="off", state="off")
    b.microphone.hold(True)
    assert b.line.asked == [(INPUT, {"mode": "push_to_talk"})]
    b.line.answer_all()
    assert b.line.asked[1:] == [(TALK, {"down": True})]


def test_a_dragged_gain_is_sent_as_fast_as_it_is_taken_and_ends_right(b: Bench) -> None:
    for gain in range(30):
        b.microphone.set_gain(float(gain))
    b.line.answer_all()
    assert b.bodies(INPUT) == [{"gain_db": 0.0}, {"gain_db": 29.0}]
    assert b.microphone.now.gain_db == 29.0


def test_what_was_asked_for_holds_until_it_is_answered(b: Bench) -> None:
    b.microphone.set_muted(True)
    b.microphone.on_event(ListeningChanged(listening=OPEN))  # sent before the request arrived
    assert b.microphone.now.muted
    b.line.answer_all()
    b.is_like(muted=False)
    assert not b.microphone.now.muted


def test_a_refused_change_is_said_and_the_truth_asked_for(b: Bench) -> None:
    b.microphone.choose_device("Gone")
    b.line.answer(Failure("not_found", "There is no microphone 'Gone'.", 404))
    b.line.answer_all()
    assert b.failures == ["There is no microphone 'Gone'."]
    assert b.microphone.now.device == ""


def test_talking_that_is_refused_ends(b: Bench) -> None:
    b.is_like(mode="push_to_talk")
    b.microphone.hold(True)
    b.line.answer(Failure("conflict", "The microphone is off.", 409))
    assert not b.microphone.is_held
    assert b.failures == ["The microphone is off."]
    b.microphone.hold(False)
    assert b.bodies(TALK) == [{"down": True}], "nothing was held, so nothing is let go"


def test_holding_a_muted_microphone_says_why_nothing_is_heard(b: Bench) -> None:
    b.is_like(mode="push_to_talk", muted=True)
    b.microphone.hold(True)
    assert b.bodies(TALK) == []
    assert "muted" in b.failures[0]


def test_an_open_microphone_hears_without_being_held(b: Bench) -> None:
    b.microphone.hold(True)
    assert not b.line.asked


def toggled(b: Bench) -> list[Any]:
    b.microphone.toggle_open()
    b.line.answer_all()
    return b.bodies(INPUT)


def test_closing_goes_back_to_what_it_was_before(b: Bench) -> None:
    b.is_like(mode="push_to_talk")
    toggled(b)
    assert [body["mode"] for body in toggled(b)] == ["open", "push_to_talk"]


def test_opening_a_muted_microphone_unmutes_it(b: Bench) -> None:
    b.is_like(muted=True)
    assert toggled(b) == [{"muted": False}]
    b.is_like(mode="off", state="off", muted=True)
    assert toggled(b)[-1] == {"mode": "open", "muted": False}


def test_microphones_are_looked_for_again_when_one_came_or_went(b: Bench) -> None:
    b.microphone.took_devices({"inputs": [{"name": "Shure MV7"}]})
    b.is_like(state="problem", problem="Shure MV7 was unplugged.", device_now="")
    b.is_like(state="problem", problem="Shure MV7 was unplugged.", device_now="")
    assert [path for path, _ in b.line.asked] == ["/api/devices"]


def test_what_was_begun_is_forgotten_with_the_microphone_but_not_what_others_read(b: Bench) -> None:
    for name, origin in (("a", "microphone"), ("b", "asr")):
        b.microphone.on_event(
            UtteranceStarted(utterance_id=name, origin=origin, conversation_id=STAGE)
        )
    b.is_like(state="problem", problem="Shure MV7 was unplugged.")
    assert list(b.microphone.live) == ["b"]


def test_hostile_answers_change_nothing(b: Bench) -> None:
    values: tuple[Any, ...] = (
        None,
        [],
        "x",
        {"inputs": 3},
        {"inputs": [{"name": []}, 7]},
        {"input": {"mode": "x"}},
    )
    for value in values:
        b.microphone.took_devices(value)
    assert b.microphone.now == OPEN


# --- keys ---


@pytest.mark.parametrize("key", ["a", "space", "F12", "F6", "Return", "1", "comma"])
def test_keys_that_are_needed_elsewhere_are_no_talk_keys(key: str) -> None:
    assert why_not(key)


@pytest.mark.parametrize("key", ["F8", "F2", "Control_R", "Pause", "Insert"])
def test_keys_that_write_nothing_can_be_held(key: str) -> None:
    assert not why_not(key)
    assert "_" not in key_name(key)


# --- words for people ---


def setting(name: str, value: Any = "x") -> SettingInfo:
    return SettingInfo(
        name=name, group="Hearing", meaning="m", kind="text", value=value, default="", allowed="any"
    )


def test_a_voice_stays_here_unless_a_server_reads_it() -> None:
    chain = setting("STT_CHAIN", ("whisper", "sphinx"))
    words, is_away = where_words_go({"STT_CHAIN": chain})
    assert not is_away
    assert "not sent anywhere" in words
    server = setting("STT_OPENAI_URL", "https://api.groq.com/openai/v1")
    chain = setting("STT_CHAIN", ("openai_compatible", "sphinx"))
    words, is_away = where_words_go({"STT_CHAIN": chain, "STT_OPENAI_URL": server})
    assert is_away
    assert "api.groq.com" in words
    near = setting("STT_OPENAI_URL", "http://127.0.0.1:9000/v1")
    assert not where_words_go({"STT_CHAIN": chain, "STT_OPENAI_URL": near})[1]


def test_the_first_recogniser_that_can_be_used_is_named() -> None:
    settings = {
        "STT_CHAIN": setting("STT_CHAIN", ("whisper", "sphinx")),
        "WHISPER_MODEL": setting("WHISPER_MODEL", "/models/whisper/base.pt"),
    }

    def services(**states: Any) -> dict[str, ServiceInfo]:
        return {
            f"stt/{name}": ServiceInfo(name=f"stt/{name}", title=name, state=state, fix="Get one.")
            for name, state in states.items()
        }

    ready = reader_of(settings, services(whisper="ready", sphinx="ready"))
    assert ready.words == "Whisper base.pt reads what you say."
    basic = reader_of(settings, services(whisper="off", sphinx="ready"))
    assert basic.trouble
    assert "English" in basic.words
    none = reader_of(settings, services(whisper="off", sphinx="failed"))
    assert none.trouble
    assert "Get one." in none.words
    assert not reader_of(settings, {}).words


@pytest.mark.parametrize(
    ("detail", "name"),
    [
        ("ASR_SILENCE_MS=600 x 0.5, after a finished sentence", "ASR_SILENCE_MS"),
        ("LLM_PROVIDER: ollama; 40 ms more hidden by THINK_AHEAD", "LLM_PROVIDER"),
        ("whisper base", "WHISPER_MODEL"),
        ("sphinx", "STT_CHAIN"),
        ("until the key was let go", ""),
        ("NOT_A_SETTING=1", ""),
        ("", ""),
    ],
)
def test_a_wait_leads_to_the_setting_behind_it(detail: str, name: str) -> None:
    known = ("THINK_AHEAD", "ASR_SILENCE_MS", "LLM_PROVIDER", "WHISPER_MODEL", "STT_CHAIN")
    assert setting_of(detail, known) == name
