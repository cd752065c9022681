"""The Status tab in a real window."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from backend.contracts.entities import ServiceInfo, ServiceState, Span, Turn
from backend.contracts.events import (
    ConfigChanged,
    ServiceChanged,
    SystemStatus,
    TurnFinished,
    TurnStarted,
)
from backend.contracts.settings import SettingInfo
from frontend.client import Failure
from frontend.tabs.status import StatusTab
from frontend.widgets.popup import Picker
from tests.gui.stand import Stand, words_on

pytestmark = pytest.mark.gui


def service(name: str, state: ServiceState, **fields: Any) -> dict[str, Any]:
    made = ServiceInfo(name=name, title=name.title(), enabled=state != "off", state=state, **fields)
    return made.model_dump(mode="json")


def spans(llm_ms: float = 300) -> tuple[Span, ...]:
    return (
        Span(name="queue", stage="wait", start_ms=0, duration_ms=10),
        Span(
            name="llm_first_token", stage="llm", start_ms=10, duration_ms=llm_ms, detail="model x"
        ),
        Span(name="tts", stage="tts", start_ms=10 + llm_ms, duration_ms=90),
        Span(name="speaking", stage="playback", start_ms=100 + llm_ms, duration_ms=2_000),
    )


def turn(number: int, llm_ms: float = 300) -> dict[str, Any]:
    return Turn(
        id=f"t{number}",
        conversation_id="stage",
        character_id="x",
        number=number,
        author="you",
        source="window",
        message="m",
        reply="r",
        outcome="done",
        first_audio_ms=100 + llm_ms,
        total_ms=2_100 + llm_ms,
        started_at=datetime.now(UTC),
        spans=spans(llm_ms),
    ).model_dump(mode="json")


def setting(name: str, value: Any, kind: Any = "text", **fields: Any) -> dict[str, Any]:
    return SettingInfo(
        name=name, group="Thinking", meaning="What it means.", kind=kind, value=value, default=value,
        allowed="anything", **fields,
    ).model_dump(mode="json")  # fmt: skip


def load(**fields: Any) -> SystemStatus:
    return SystemStatus(
        **{
            "cpu": 0.23,
            "memory_bytes": 412_000_000,
            "memory_total_bytes": 32_000_000_000,
            "disk_free_bytes": 212_000_000_000,
            "disk_write_bytes_s": 18_000_000,
            **fields,
        }
    )


@pytest.fixture
def stand() -> Iterator[Stand]:
    made = Stand(
        {
            "GET /api/status": {
                "services": [
                    service("hear", "ready", detail="16 kHz"),
                    service("twitch", "off"),
                    service(
                        "piper", "failed", kind="engine", error="No voice at models/x.onnx.",
                        fix="Set PIPER_MODEL_PATH to a .onnx file.",
                    ),
                ]
            },
            "GET /api/turns": [turn(n) for n in range(12, 2, -1)],
            "GET /api/config": [
                setting("LLM_PROVIDER", "persona", "choice", choices=("persona", "ollama")),
                setting("LLM_MAX_TOKENS", 512, "integer", lowest=1),
                setting("DEBUG", False, "switch"),
                setting("API_PORT", 8765, "integer", restart_needed=True),
                setting("OPENAI_API_KEY", "\u2022\u2022\u2022\u20223f9c", "secret", secret=True),
                setting("LOG_LEVEL", "INFO", "choice", locked="environment variable LOG_LEVEL"),
            ],
        }
    )  # fmt: skip
    yield made
    made.close()


def all_words(tab: StatusTab) -> list[str]:
    found: list[str] = []
    for canvas in (
        tab.services, tab.services.rows, *tab.plots, tab.latency, tab.settings, tab.settings.rows,
    ):  # fmt: skip
        found += words_on(canvas)
    return found


def test_services_are_listed_with_state_error_and_fix(stand: Stand) -> None:
    tab = stand.hold(StatusTab)
    words = all_words(tab)
    assert {"Hear", "16 kHz", "Twitch", "Off", "No voice at models/x.onnx."} <= set(words)
    assert "Set PIPER_MODEL_PATH to a .onnx file." in words
    assert "1 ready  ·  1 needs you" in words


def test_a_fix_that_names_a_setting_leads_to_it(stand: Stand) -> None:
    tab = stand.hold(StatusTab)
    tab.services.rows.invoke("fix:piper")
    assert stand.settings == ["PIPER_MODEL_PATH"]


def test_a_module_is_switched_and_the_row_follows_the_answer(stand: Stand) -> None:
    tab = stand.hold(StatusTab)
    stand.backend.answers["POST /api/modules/twitch"] = lambda body: service(
        "twitch", "ready" if body["enabled"] else "off", detail="connected"
    )
    tab.services.rows.invoke("switch:twitch")
    stand.settle()
    assert ("POST /api/modules/twitch", {"enabled": True}) in stand.backend.asked
    assert "connected" in all_words(tab)


def test_a_switch_that_fails_says_why_and_can_be_used_again(stand: Stand) -> None:
    tab = stand.hold(StatusTab)
    stand.backend.answers["POST /api/modules/twitch"] = Failure("conflict", "No key.", 409)
    tab.services.rows.invoke("switch:twitch")
    stand.settle()
    assert stand.notices == [("No key.", "error")]
    tab.services.rows.invoke("switch:twitch")
    stand.settle()
    assert len(stand.notices) == 2


def test_a_service_that_changes_is_shown_at_once(stand: Stand) -> None:
    tab = stand.hold(StatusTab)
    changed = ServiceInfo(
        name="hear", title="Hear", state="failed", error="Unplugged.", fix="Plug it in."
    )
    stand.feed(ServiceChanged(service=changed))
    stand.settle()
    assert {"Unplugged.", "Plug it in.", "Try again"} <= set(all_words(tab))


def test_load_is_shown_as_figures_and_a_missing_gpu_as_words(stand: Stand) -> None:
    tab = stand.hold(StatusTab)
    stand.feed(load())
    stand.settle(lambda: "23 %" in words_on(tab.cpu))
    assert "412 MB" in words_on(tab.memory)
    assert "18 MB/s" in words_on(tab.disk)
    assert "No NVIDIA GPU here" in words_on(tab.gpu)
    stand.feed(load(gpu=0.41, gpu_name="NVIDIA GeForce RTX 4070", gpu_memory_bytes=6_200_000_000,
                    gpu_memory_total_bytes=12_000_000_000))  # fmt: skip
    stand.settle(lambda: "41 %" in words_on(tab.gpu))
    assert "RTX 4070, 6.2 of 12 GB" in words_on(tab.gpu)


def test_plots_keep_two_minutes_and_no_more(stand: Stand) -> None:
    tab = stand.hold(StatusTab)
    stand.feed(*[load() for _ in range(500)])
    assert len(tab.cpu.values) == 120


def test_the_newest_turn_is_shown_against_its_usual_times(stand: Stand) -> None:
    tab = stand.hold(StatusTab)
    words = words_on(tab.latency)
    assert "turn 12, window, 10 of 10" in words
    assert {"Queue", "LLM first token", "Voice", "this", "p50", "p95", "300"} <= set(words)
    assert "Speaking" not in words
    assert "as fast as usual" in words


def test_a_small_window_shows_every_stage_of_a_turn() -> None:
    names = [("queue", "wait"), ("stt", "stt"), ("prompt", "prompt"), ("llm_first_token", "llm"),
             ("first_sentence", "llm"), ("tts", "tts"), ("first_audio", "playback")]  # fmt: skip
    titles = ["Queue", "Speech to text", "Prompt", "LLM first token", "First sentence", "Voice", "To speaker"]  # fmt: skip
    for left_out in ((), ("stt",)):
        made = [
            Span(name=name, stage=stage, start_ms=10.0 * n, duration_ms=10.0)
            for n, (name, stage) in enumerate(names)
            if name not in left_out
        ]
        whole = [{**turn(n), "spans": [one.model_dump() for one in made]} for n in range(9, 0, -1)]
        stand = Stand({"GET /api/turns": whole}, width=828, height=522)
        try:
            shown = words_on(stand.hold(StatusTab).latency)
            assert set(titles) - set(shown) == ({"Speech to text"} if left_out else set())
        finally:
            stand.close()


def test_a_slow_turn_says_which_stage_was_slow_and_what_is_behind_it(stand: Stand) -> None:
    tab = stand.hold(StatusTab)
    stand.feed(
        TurnStarted(turn_id="t13", number=13, origin="microphone", conversation_id="stage",
                    character_id="x"),
        TurnFinished(turn_id="t13", number=13, outcome="done", total_ms=3_000, first_audio_ms=1_000,
                     spans=spans(900), conversation_id="stage"),
    )  # fmt: skip
    stand.settle()
    words = words_on(tab.latency)
    assert "turn 13, microphone, 11 of 11" in words
    assert (
        "600 ms slower than usual: LLM first token took 900 ms instead of 300 ms (model x)" in words
    )


def test_a_stage_leads_to_the_setting_behind_it_and_others_to_nothing(stand: Stand) -> None:
    parts = list(spans())
    parts[1] = parts[1].model_copy(update={"detail": "LLM_PROVIDER: ollama, model x"})
    stand.backend.answers["GET /api/turns"] = [
        {**turn(1), "spans": [part.model_dump(mode="json") for part in parts]}
    ]
    tab = stand.hold(StatusTab)
    stand.settle(lambda: bool(tab.settings.settings))
    tab.latency.repaint()
    stops = [key for key in tab.latency._stops() if key.startswith("row:")]
    assert stops == ["row:1"], "only what leads somewhere is a stop of the keyboard"
    tab.latency.focus_zone("row:1")
    tab.latency.event_generate("<Return>")
    tab.latency.invoke("row:0")
    assert stand.settings == ["LLM_PROVIDER"]


def test_turns_are_walked_through_and_the_slowest_is_one_key_away(stand: Stand) -> None:
    stand.backend.answers["GET /api/turns"] = [turn(3), turn(2, llm_ms=800), turn(1)]
    tab = stand.hold(StatusTab)
    tab.latency.focus_force()
    tab.latency.event_generate("<Left>")
    tab.latency.event_generate("<Left>")
    assert tab.latency.chosen is not None
    assert tab.latency.chosen.number == 1
    tab.latency.invoke("slowest")
    assert tab.latency.chosen.number == 2
    stand.settle()
    tab.latency.invoke("open")
    assert stand.turns == ["t2"]


def test_settings_are_shown_with_their_marks(stand: Stand) -> None:
    tab = stand.hold(StatusTab)
    words = words_on(tab.settings.rows)
    assert {"LLM provider", "persona", "512", "after restart", "masked"} <= set(words)
    assert "\u2022\u2022\u2022\u20223f9c" in words


def test_a_number_is_edited_where_it_stands(stand: Stand) -> None:
    tab = stand.hold(StatusTab)
    stand.backend.answers["POST /api/config"] = {
        "changed": ["LLM_MAX_TOKENS"],
        "restart_needed": [],
    }
    rows = tab.settings.rows
    rows.invoke("set:LLM_MAX_TOKENS")
    stand.settle()
    field = rows._field
    assert field is not None
    field.entry.delete(0, "end")
    field.entry.insert(0, "many")
    field.entry.focus_force()
    field.entry.event_generate("<Return>")
    assert field.trouble, "a word is no number"
    field.entry.delete(0, "end")
    field.entry.insert(0, "256")
    field.entry.event_generate("<Return>")
    stand.settle()
    assert ("POST /api/config", {"values": {"LLM_MAX_TOKENS": 256}}) in stand.backend.asked
    assert stand.notices == [("LLM max tokens was changed.", "ok")]


def test_a_switch_and_a_choice_are_changed_in_place(stand: Stand) -> None:
    tab = stand.hold(StatusTab)
    stand.backend.answers["POST /api/config"] = {"changed": ["X"], "restart_needed": ["X"]}
    tab.settings.rows.invoke("set:DEBUG")
    tab.settings.rows.invoke("set:LLM_PROVIDER")
    stand.settle()
    picker = next(child for child in stand.root.winfo_children() if isinstance(child, Picker))
    picker.row = 1
    picker._take()
    stand.settle()
    posted = [body for name, body in stand.backend.asked if name == "POST /api/config"]
    assert posted == [{"values": {"DEBUG": True}}, {"values": {"LLM_PROVIDER": "ollama"}}]
    assert stand.notices[0] == ("Debug was changed; it applies after a restart.", "ok")


def test_a_locked_setting_cannot_be_changed_here(stand: Stand) -> None:
    tab = stand.hold(StatusTab)
    tab.settings.rows.invoke("set:LOG_LEVEL")
    stand.settle()
    assert not [body for name, body in stand.backend.asked if name.startswith("POST")]
    tab.settings.rows.invoke("set:OPENAI_API_KEY")
    assert stand.settings == ["LOG_LEVEL", "OPENAI_API_KEY"], (
        "the settings window says what locks a setting, and is where a key is typed"
    )


def test_a_setting_changed_elsewhere_is_read_again(stand: Stand) -> None:
    tab = stand.hold(StatusTab)
    stand.backend.answers["GET /api/config"] = [setting("LLM_PROVIDER", "ollama")]
    stand.feed(ConfigChanged(names=("LLM_PROVIDER",)))
    stand.settle(lambda: "ollama" in words_on(tab.settings.rows))


def test_nothing_loaded_says_why_and_can_be_tried_again(stand: Stand) -> None:
    answers = dict(stand.backend.answers)
    for name in answers:
        stand.backend.answers[name] = Failure("unreachable", "The backend sleeps.")
    tab = stand.hold(StatusTab)
    assert all_words(tab).count("The backend sleeps.") == 3
    stand.backend.answers.update(answers)
    for card in (tab.services, tab.latency, tab.settings):
        card.invoke("retry")
    stand.settle()
    assert {"Hear", "LLM provider", "LLM first token"} <= set(all_words(tab))


def test_hostile_words_stay_in_their_rows(stand: Stand) -> None:
    evil = "\u202eevil\x00" + "W" * 5_000
    stand.backend.answers["GET /api/status"] = {
        "services": [
            service("x", "failed", error=evil, fix=evil),
            service("y", "ready", detail=evil),
        ]
    }
    tab = stand.hold(StatusTab)
    rows = tab.services.rows
    for item in rows.find_all():
        box = rows.bbox(item)
        if box and str(rows.type(item)) == "text":
            assert box[2] <= rows.winfo_width() + 1


@pytest.mark.parametrize("size", [(828, 522), (560, 380), (2400, 1300)])
def test_every_size_shows_every_card(stand: Stand, size: tuple[int, int]) -> None:
    stand.root.geometry(f"{size[0]}x{size[1]}")
    tab = stand.hold(StatusTab)
    stand.feed(load())
    stand.settle()
    for card in (tab.services, *tab.plots, tab.latency, tab.settings):
        assert card.winfo_ismapped()
        assert card.winfo_x() + card.winfo_width() <= size[0]
        assert card.winfo_height() >= 80
    if size[1] < 562:
        tab.latency.event_generate("<Button-5>", x=5, y=5)
        assert tab.page.body.winfo_y() <= 0


def test_the_keyboard_reaches_a_switch(stand: Stand) -> None:
    stand.backend.answers["POST /api/modules/hear"] = service("hear", "off")
    tab = stand.hold(StatusTab)
    rows = tab.services.rows
    rows.focus_force()
    rows.event_generate("<Home>")
    rows.event_generate("<space>")
    stand.settle()
    assert ("POST /api/modules/hear", {"enabled": False}) in stand.backend.asked
