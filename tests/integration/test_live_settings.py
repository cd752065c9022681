"""What is changed in a running program counts from the next turn on, and modules do what they say."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from backend.chat.moderation.judge import JudgeOptions
from backend.contracts.events import SystemStatus
from backend.listening.endpointing import Rules
from backend.outputs.none import NoSound
from config import Settings, is_live
from tests.fakes import WritesText
from tests.integration.conftest import Served, serve
from tests.servers.llm import LlmServer
from tests.servers.thread import ServerThread


@pytest.fixture(scope="module")
def model() -> Iterator[LlmServer]:
    server = LlmServer(reply="A model wrote this.")
    with ServerThread(server):
        yield server


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, model: LlmServer) -> Iterator[Served]:
    yield from serve(
        tmp_path_factory.mktemp("live"),
        openai_compatible_url=f"http://127.0.0.1:{model.port}/v1",
        openai_compatible_model="small-1",
        metrics_interval_s=60,
    )


def until(is_true: Callable[[], object], timeout_s: float = 30.0) -> None:
    end_s = time.monotonic() + timeout_s
    while not is_true():
        assert time.monotonic() < end_s, "it never happened"
        time.sleep(0.01)


def change(api: httpx.Client, served: Served, **values: object) -> None:
    """Save settings and wait until the backend uses them."""
    answer = api.post("/api/config", json={"values": {k.upper(): v for k, v in values.items()}})
    assert answer.status_code == 200, answer.text
    backend = served.app.state.backend
    until(lambda: all(_same(getattr(backend.engines.settings, k), v) for k, v in values.items()))


def _same(now: object, wanted: object) -> bool:
    return (list(now) if isinstance(now, tuple) else now) == wanted


def say(api: httpx.Client, text: str, **more: Any) -> dict[str, Any]:
    answer = api.post("/api/chat", json={"message": text, **more})
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def test_another_provider_answers_the_next_turn(
    served: Served, api: httpx.Client, model: LlmServer
) -> None:
    assert "plums" in say(api, "I say plums")["reply"]
    change(api, served, llm_provider="openai_compatible")
    assert say(api, "I say plums")["reply"] == "A model wrote this."
    change(api, served, llm_temperature=0.25, llm_max_tokens=77)
    say(api, "hello")
    asked = model.requests[-1].json
    assert asked["temperature"] == 0.25
    assert 77 in (asked.get("max_tokens"), asked.get("max_completion_tokens"))


def test_a_smaller_context_forgets_more(
    served: Served, api: httpx.Client, model: LlmServer
) -> None:
    change(api, served, llm_provider="openai_compatible", llm_max_tokens=64)
    conversation = say(api, "first " * 100)["conversation_id"]
    for _ in range(3):
        say(api, "more " * 100, conversation_id=conversation)
    full = len(model.requests[-1].json["messages"])
    change(api, served, context_tokens=1024)
    say(api, "more " * 100, conversation_id=conversation)
    assert len(model.requests[-1].json["messages"]) < full


def test_another_voice_speaks_the_next_sentence(served: Served, api: httpx.Client) -> None:
    change(api, served, llm_provider="echo", tts_chain=["tone"])
    first = say(api, "one voice")["audio"]
    assert first
    change(api, served, tts_chain=["embedded"])
    assert list(served.app.state.backend.engines.voices) == ["embedded"]
    change(api, served, tts_chain=["tone"])
    assert list(served.app.state.backend.engines.voices) == ["tone"]


def test_volume_and_muting_reach_the_sound_output(served: Served, api: httpx.Client) -> None:
    heard: list[float] = []

    class Told(NoSound):
        def set_volume(self, volume: float) -> None:
            heard.append(volume)

    player = served.app.state.backend.player
    player.sink, old = Told(), player.sink
    try:
        change(api, served, output_volume=0.4)
        until(lambda: heard and heard[-1] == 0.4)
        change(api, served, output_muted=True)
        until(lambda: heard[-1] == 0.0)
        change(api, served, output_muted=False, output_volume=1.0)
        until(lambda: heard[-1] == 1.0)
    finally:
        player.sink = old


def test_another_output_keeps_device_and_volume(served: Served, api: httpx.Client) -> None:
    player = served.app.state.backend.player
    change(api, served, output_device="Headphones", output_volume=0.5)
    until(lambda: player.device == "Headphones")
    change(api, served, audio_sink="speaker")
    until(lambda: player.sink.name == "speaker")
    until(lambda: player.sink._device == "Headphones" and player.sink._volume == 0.5)
    change(api, served, audio_sink="none", output_device="", output_volume=1.0)
    until(lambda: player.sink.name == "none")


def test_the_log_level_counts_at_once(served: Served, api: httpx.Client) -> None:
    change(api, served, log_level="ERROR")
    assert not logging.getLogger("backend.chat").isEnabledFor(logging.WARNING)
    change(api, served, log_level="INFO")
    assert logging.getLogger("backend.chat").isEnabledFor(logging.INFO)


def test_a_shorter_interval_of_measurements_does_not_wait_for_the_old_one(
    served: Served, api: httpx.Client
) -> None:
    monitor = served.app.state.backend.monitor
    until(lambda: monitor.latest is not None)
    before: SystemStatus = monitor.latest
    change(api, served, metrics_interval_s=0.5)
    until(lambda: monitor.latest is not before)
    change(api, served, metrics_interval_s=60)


def test_a_name_for_the_user_is_used(served: Served, api: httpx.Client, model: LlmServer) -> None:
    change(api, served, llm_provider="openai_compatible", user_name="Robin")
    say(api, "hello")
    assert "Robin" in str(model.requests[-1].json["messages"])


def test_the_next_training_is_made_as_was_saved(served: Served, api: httpx.Client) -> None:
    before = {
        name: getattr(served.app.state.backend.engines.settings, name)
        for name in Settings.model_fields
        if name.startswith("training_")
    }
    change(
        api,
        served,
        training_threads=1,
        training_minutes=3,
        training_keep_checkpoints=5,
        training_on_close="stop",
    )
    backend = served.app.state.backend
    now = backend.trainings.options
    assert (now.threads, now.quick_s, now.keep) == (1, 180, 5)
    assert backend.training.options.on_close == "stop"
    change(api, served, **before)
    assert backend.training.options.on_close == before["training_on_close"]


def test_listening_is_as_it_was_saved(served: Served, api: httpx.Client) -> None:
    backend = served.app.state.backend
    wanted: dict[str, object] = {
        "asr_frame_ms": 20,
        "asr_gain_db": 3.0,
        "asr_guard": "headphones",
        "asr_input_device": "Desk",
        "asr_max_utterance_s": 12.0,
        "asr_min_speech_ms": 150,
        "asr_muted": True,
        "asr_partials": False,
        "asr_preroll_ms": 500,
        "asr_silence_ms": 900,
        "asr_vad": "energy",
        "asr_vad_threshold": 0.6,
        "barge_in": False,
        "barge_in_ms": 500,
    }
    before = {name: getattr(backend.engines.settings, name) for name in wanted}
    change(api, served, **wanted)
    until(lambda: backend.hearing.options.device == "Desk")
    now = backend.hearing.options
    assert (now.frame_ms, now.gain_db, now.guard, now.is_muted) == (20, 3.0, "headphones", True)
    assert (now.detector, now.reads_along) == ("energy", False)
    assert (now.barge_in, now.barge_in_ms) == (False, 500)
    assert now.rules == Rules(0.6, 500, 150, 900, 12.0)
    change(api, served, duck_volume=0.5, think_ahead=False)
    assert backend.player.duck_volume == 0.5
    assert not backend.chat.thinks_ahead
    change(api, served, **before, duck_volume=0.25, think_ahead=True)


def test_texts_on_demand_are_as_many_a_minute_as_is_set(api: httpx.Client, served: Served) -> None:
    asked = {"prompt": "Exactly this.", "kind": "say"}
    change(api, served, text_requests_per_minute=1)
    found = [api.post("/api/text-generation", json=asked).status_code for _ in range(2)]
    assert found == [200, 429]
    change(api, served, text_requests_per_minute=30)
    assert api.post("/api/text-generation", json=asked).status_code == 200


def test_moderation_is_as_it_was_saved(api: httpx.Client, served: Served) -> None:
    moderator = served.app.state.backend.moderator
    asked = {"text": "come to example.com/now", "direction": "in"}
    change(api, served, moderation_profile="off")
    until(lambda: moderator.profile.name == "off")
    assert api.post("/api/moderation/try", json=asked).json()["verdict"]["action"] == "allow"
    change(api, served, moderation_profile="family", moderation_family=True)
    until(lambda: moderator.profile.name == "family" and moderator.is_family)
    assert api.post("/api/moderation/try", json=asked).json()["verdict"]["action"] != "allow"
    judged: dict[str, object] = {
        "moderation_llm": "both",
        "moderation_llm_timeout_s": 2.5,
        "moderation_llm_fails": "closed",
    }
    before = {name: getattr(served.app.state.backend.engines.settings, name) for name in judged}
    change(api, served, **judged)
    assert moderator.judge.options == JudgeOptions(asked="both", timeout_s=2.5, fails="closed")
    change(api, served, **before, moderation_profile="standard", moderation_family=False)


def test_autonomy_is_as_it_was_saved(api: httpx.Client, served: Served) -> None:
    backend = served.app.state.backend
    wanted: dict[str, object] = {
        "autonomy_gap_s": 45,
        "autonomy_share": 0.5,
        "autonomy_timezone": "Asia/Tokyo",
        "autonomy_texts_per_minute": 1,
    }
    before = {name: getattr(backend.engines.settings, name) for name in wanted}
    change(api, served, **wanted)
    now = backend.autonomy._options
    assert (now.gap_s, now.share, str(now.zone)) == (45, 0.5, "Asia/Tokyo")
    assert backend.own_texts._per_minute == 1
    change(api, served, **before)


def test_twitch_is_as_it_was_saved(api: httpx.Client, served: Served) -> None:
    backend = served.app.state.backend
    dead = {"twitch_irc_url": "ws://127.0.0.1:9/", "twitch_eventsub_url": "ws://127.0.0.1:9/ws"}
    before = {name: getattr(backend.engines.settings, name) for name in dead}
    change(api, served, **dead, twitch_bot_nick="Hoshi", twitch_client_id="an-application")
    now = backend.twitch._settings
    assert (now.nick, now.given.application.client_id) == ("Hoshi", "an-application")
    assert now.addresses.irc == dead["twitch_irc_url"]
    assert now.addresses.eventsub == dead["twitch_eventsub_url"]
    change(api, served, **before, twitch_bot_nick="", twitch_client_id="")


def test_every_live_setting_has_somebody_who_reads_it() -> None:
    """Those that are built into engines and modes, those of the tests above, of test_listening, test_modes, test_twitch and test_client_ws."""
    from backend.wiring import ENGINE_SETTINGS, MODE_SETTINGS

    begins = (*ENGINE_SETTINGS, *(each for found in MODE_SETTINGS.values() for each in found))
    others = {
        name for name in Settings.model_fields if is_live(name) and not name.startswith(begins)
    }
    assert others == {
        "asr_frame_ms",
        "asr_gain_db",
        "asr_guard",
        "asr_input_device",
        "asr_max_utterance_s",
        "asr_min_speech_ms",
        "asr_mode",
        "asr_muted",
        "asr_partials",
        "asr_preroll_ms",
        "asr_silence_ms",
        "asr_vad",
        "asr_vad_threshold",
        "audio_sink",
        "autonomy_gap_s",
        "autonomy_share",
        "autonomy_texts_per_minute",
        "autonomy_timezone",
        "backend_mode",
        "barge_in",
        "barge_in_ms",
        "compatible_clients",
        "context_tokens",
        "debug",
        "duck_volume",
        "gpu_metrics_interval_s",
        "log_level",
        "metrics_interval_s",
        "moderation_family",
        "moderation_llm",
        "moderation_llm_fails",
        "moderation_llm_timeout_s",
        "moderation_profile",
        "output_device",
        "output_muted",
        "output_volume",
        "text_requests_per_minute",
        "think_ahead",
        "training_keep_checkpoints",
        "training_minutes",
        "training_on_close",
        "training_threads",
        "twitch_bot_nick",
        "twitch_channel",
        "twitch_client_id",
        "twitch_client_secret",
        "twitch_eventsub_url",
        "twitch_helix_url",
        "twitch_irc_url",
        "twitch_oauth_token",
        "twitch_oauth_url",
        "twitch_refresh_token",
        "user_name",
    }


def test_modules_do_what_they_say_and_stay_so_over_a_restart(tmp_path: Path) -> None:
    run = serve(tmp_path)
    served = next(run)
    with served.client() as api:

        def switch(name: str, *, on: bool) -> None:
            answer = api.post(f"/api/modules/{name}", json={"enabled": on})
            assert answer.status_code == 200, answer.text

        backend = served.app.state.backend
        backend.engines.llm = model = WritesText(["[joy] Hello."])
        character = api.get("/api/characters").json()[0]["id"]
        talk = {"conversation_id": "stage"}
        assert say(api, "I like plums", **talk)["audio"]
        assert backend.avatar.shown(character).expression == "joy"

        switch("speak", on=False)
        assert not say(api, "quiet", **talk)["audio"]
        switch("memory", on=False)
        say(api, "what do I like", **talk)
        assert "plums" not in str(model.prompts[-1].messages)
        switch("avatar", on=False)
        backend.engines.llm = WritesText(["[sadness] Oh."])
        say(api, "no face", **talk)
        assert backend.avatar.shown(character).expression == "joy"
        switch("hear", on=False)
        wav = api.post("/api/stt", files={"file": ("a.wav", b"RIFF", "audio/wav")})
        assert wav.status_code >= 400
    with pytest.raises(StopIteration):
        next(run)

    run = serve(tmp_path)
    served = next(run)
    with served.client() as api:
        states = {m["name"]: m["state"] for m in api.get("/api/modules").json()}
        assert {states[name] for name in ("speak", "memory", "avatar", "hear")} == {"off"}
        assert not say(api, "still quiet", conversation_id="stage")["audio"]
    with pytest.raises(StopIteration):
        next(run)
