"""Anything may be sent to any route: whatever it is, the answer is never a server error (Schemathesis)."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator

import pytest
import schemathesis
from fastapi import FastAPI
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis.generation import GenerationMode

from backend.api import ROUTERS
from backend.training.trainings import TrainRequest
from tests.integration.conftest import Served, serve
from tests.training_data import speaker_with_clips

FAKE = (sys.executable, "-m", "tests.fake_trainer")

UNAVAILABLE = {502, 503}
"""An engine, voice or provider that is not there says so; nothing else may be a 5xx."""

EXAMPLES = 40


def described() -> schemathesis.BaseSchema:
    """The API as its own document describes it."""
    app = FastAPI()
    for router in ROUTERS:
        app.include_router(router)
    return schemathesis.openapi.from_dict(app.openapi())


SCHEMA = described()
OPERATIONS = [found.ok() for found in SCHEMA.get_all_operations()]


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("fuzz")
    yield from serve(
        folder,
        trainer=FAKE,
        api_requests_per_minute=1_000_000,
        asr_fake_audio=folder / "nobody.wav",  # no microphone of this machine is opened
    )


@pytest.fixture(scope="module")
def trained(target: Served, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Ids of a training that was stopped in the middle, and of what it is made from."""
    backend = target.app.state.backend

    async def stopped() -> dict[str, str]:
        folder = tmp_path_factory.mktemp("recordings")
        speaker, clips = await speaker_with_clips(backend.voice_data, folder)
        job = await backend.trainings.start(
            TrainRequest("fuzz", speaker, steps=9, options={"die_at": 5, "die_how": "kill"})
        )
        while (run := backend.training.running(job.id)) is not None:
            await asyncio.wait([run.task])
            await asyncio.sleep(0)
        return {
            "job_id": job.id,
            "checkpoint_id": f"{job.id}:step-000000",
            "file": "step-000000.wav",
            "which": "made",
            "voice": "fuzz",
            "speaker_id": speaker,
            "clip_id": str(clips[0]),
        }

    return asyncio.run_coroutine_threadsafe(stopped(), backend._loop).result(60)


@pytest.fixture
def existing(target: Served, trained: dict[str, str]) -> dict[str, str]:
    """Ids that exist, so that what lies behind the 404 is reached too."""
    with target.client() as client:
        client.post("/api/resume")  # somebody may have sent a panic
        copies = [c["id"] for c in client.get("/api/characters").json() if not c["builtin"]]
        if not copies:
            first = client.get("/api/characters").json()[0]["id"]
            copies = [client.post(f"/api/characters/{first}/duplicate").json()["id"]]
        turn = client.post("/api/chat", json={"message": "hello", "conversation_id": "stage"})
        return {
            "character_id": copies[0],
            "conversation_id": "stage",
            "turn_id": turn.json()["turn_id"],
            "expression": "joy",
            "name": "avatar",
            "n": "1",
            **trained,
        }


@pytest.mark.slow
@pytest.mark.filterwarnings("default")  # the generator's own warnings say nothing about our API
@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE])
@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.label)
def test_nothing_that_is_sent_breaks_the_api(
    operation: schemathesis.core.result.Ok,
    mode: GenerationMode,
    target: Served,
    existing: dict[str, str],
) -> None:
    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.explicit, Phase.generate],
        database=None,
    )
    @given(case=operation.as_strategy(generation_mode=mode), is_real=st.booleans())
    def send(case: schemathesis.Case, is_real: bool) -> None:
        if is_real:
            for name in set(case.path_parameters or {}) & set(existing):
                case.path_parameters[name] = existing[name]
        answer = case.call(base_url=target.url, headers=target.bearer, timeout=20)
        assert answer.status_code < 500 or answer.status_code in UNAVAILABLE, answer.text
        if answer.status_code >= 400:
            body = answer.json()
            assert set(body) == {"code", "message"}
            assert body["message"].strip()

    try:
        send()
    except BaseException as error:
        # Some operations take nothing that could be wrong.
        if mode is GenerationMode.NEGATIVE and type(error).__name__ in (
            "Unsatisfiable",
            "SkipTest",
            "Skipped",
        ):
            return
        raise
