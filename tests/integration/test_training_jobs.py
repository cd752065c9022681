"""A voice is trained over HTTP and spoken with: a real backend, a trainer that learns in milliseconds, a real Piper voice."""

from __future__ import annotations

import asyncio
import io
import shutil
import sys
import wave
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from backend.app import create_app
from backend.contracts.errors import ConflictError
from backend.contracts.training import Job
from backend.server import BackendThread
from backend.training.trainings import TrainRequest
from config import LoadedSettings
from tests.integration.conftest import Served, settings_for
from tests.training_data import speaker_with_clips

FAKE = (sys.executable, "-m", "tests.fake_trainer")


class Studio(Served):
    """A running backend with a speaker to train."""

    speaker: str
    clip_ids: list[int]

    def in_loop(self, work: Any, timeout_s: float = 60.0) -> Any:
        """Run a coroutine in the backend's loop."""
        loop = self.app.state.backend._loop
        return asyncio.run_coroutine_threadsafe(work, loop).result(timeout_s)

    def ended(self, job_id: str) -> Job:
        """The job, when nobody works on it any more."""
        return self.in_loop(_ended(self.app.state.backend.training, job_id))  # type: ignore[no-any-return]  # a Job

    def events(self, job_id: str) -> list[dict[str, Any]]:
        """What was told of a job, oldest first."""
        with self.client() as client:
            found = client.get("/api/events", params={"job_id": job_id, "limit": 500}).json()
        return sorted(found, key=lambda event: event["seq"])


async def _ended(jobs: Any, job_id: str) -> Job:
    while (run := jobs.running(job_id)) is not None:
        await asyncio.wait([run.task])
        await asyncio.sleep(0)
    return await jobs.get(job_id)  # type: ignore[no-any-return]  # a Job


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    folder = tmp_path_factory.mktemp("studio")
    settings = settings_for(folder, tts_chain=("piper", "tone"))
    app = create_app(LoadedSettings.of(settings), trainer=FAKE)
    with BackendThread(settings, make_app=lambda: app) as backend:
        data = settings.data_dir
        found = Studio(
            backend,
            app,
            (data / "api_token").read_text().strip(),
            (data / "overlay_token").read_text().strip(),
        )
        made = found.in_loop(speaker_with_clips(app.state.backend.voice_data, folder))
        found.speaker, found.clip_ids = made
        yield found


@pytest.fixture(scope="module")
def api(studio: Studio) -> Iterator[httpx.Client]:
    with studio.client() as client:
        yield client


@pytest.fixture(scope="module")
def trained(studio: Studio, api: httpx.Client) -> dict[str, Any]:
    """A training that has succeeded, for a character."""
    first = api.get("/api/characters").json()[0]["id"]
    character = api.post(f"/api/characters/{first}/duplicate").json()["id"]
    answer = train(api, studio, "mika-v1", character_id=character)
    assert answer.status_code == 202, answer.text
    job = studio.ended(answer.json()["job_id"])
    assert job.state == "done", job.message
    return {"job_id": job.id, "character_id": character}


def train(api: httpx.Client, studio: Studio, name: str, **fields: Any) -> httpx.Response:
    body = {
        "name": name,
        "speaker": studio.speaker,
        "budget": {"steps": 20},
        "test_sentence": "script",
        **fields,
    }
    return api.post("/api/voice/train", json=body)


def test_a_trained_voice_is_saved_before_the_training_is_said_to_be_complete(
    studio: Studio, api: httpx.Client, trained: dict[str, Any]
) -> None:
    told = [event["type"] for event in studio.events(trained["job_id"])]
    assert told[0] == "training.started"
    assert told[-1] == "training.completed"
    everything = api.get("/api/events", params={"limit": 500}).json()
    types = [event["type"] for event in sorted(everything, key=lambda event: event["seq"])]
    assert types.index("model.saved") < types.index("training.completed")
    folder = Path(studio.app.state.backend.loaded.settings.models_dir) / "piper"
    assert {path.name for path in folder.iterdir()} >= {
        "mika-v1.onnx",
        "mika-v1.onnx.json",
        "mika-v1.card.json",
    }


def test_the_character_speaks_with_the_new_voice_at_once(
    api: httpx.Client, trained: dict[str, Any]
) -> None:
    character = api.get(f"/api/characters/{trained['character_id']}").json()
    assert (character["voice"]["engine"], character["voice"]["name"]) == ("piper", "mika-v1")
    spoken = api.post(
        "/api/tts", json={"text": "Hello chat!", "character_id": trained["character_id"]}
    ).json()
    assert (spoken["engine"], spoken["voice"]) == ("piper", "mika-v1")
    assert spoken["duration_s"] > 0.1


def test_the_job_says_how_it_went(api: httpx.Client, trained: dict[str, Any]) -> None:
    job = api.get(f"/api/voice/jobs/{trained['job_id']}").json()
    assert (job["state"], job["name"], job["kind"], job["trainer"]) == (
        "done",
        "mika-v1",
        "train",
        "quick",
    )
    assert (job["step"], job["steps"], job["progress"]) == (20, 20, 1.0)
    assert job["result"]["voice"] == "mika-v1"
    assert job["result"]["character_id"] == trained["character_id"]
    assert "model" not in job["result"]
    assert api.get("/api/voice/jobs").json()[0]["id"].startswith("train-")
    assert api.get("/api/voice/jobs", params={"kind": "doctor"}).json() == []
    lines = api.get(f"/api/voice/jobs/{job['id']}/log").json()["lines"]
    assert lines[0] == f"train {job['id']}"


def test_the_curve_has_a_point_for_what_was_learned(
    api: httpx.Client, trained: dict[str, Any]
) -> None:
    points = api.get(f"/api/voice/jobs/{trained['job_id']}/losses").json()["points"]
    steps = [point["step"] for point in points]
    assert steps == sorted(steps)
    assert steps[-1] == 20
    assert points[-1]["train"] == pytest.approx(1 / 20)


def test_the_card_says_who_agreed_and_from_what_the_voice_was_made(
    api: httpx.Client, studio: Studio, trained: dict[str, Any]
) -> None:
    card = api.get("/api/voice/cards/mika-v1").json()
    assert card["speaker"] == studio.speaker
    assert "made by a machine" in card["consent"]
    assert (card["clips"], card["minutes"], card["steps"]) == (4, pytest.approx(0.27), 20)
    assert len(card["data_sha256"]) == 64
    assert card["scores"]["similarity"] == 0.93
    assert api.get("/api/voice/cards/nobody").status_code == 404
    clips = api.get("/api/voice/clips", params={"speaker": studio.speaker}).json()["clips"]
    assert all(clip["models"] == ["mika-v1"] for clip in clips)


def test_checkpoints_have_samples_that_can_be_heard_and_a_recogniser_listened(
    api: httpx.Client, studio: Studio, trained: dict[str, Any]
) -> None:
    found = api.get("/api/voice/checkpoints", params={"job_id": trained["job_id"]}).json()
    assert [one["step"] for one in found] == [20, 10, 0]
    assert [one["is_last"] for one in found] == [True, False, False]
    sound = api.get(found[0]["sample_url"])
    assert sound.headers["content-type"] == "audio/wav"
    with wave.open(io.BytesIO(sound.content)) as file:
        assert file.getnframes() > 1000
    part = api.get(found[0]["sample_url"], headers={"Range": "bytes=0-3"})
    assert (part.status_code, part.content) == (206, b"RIFF")
    listener = studio.app.state.backend.trainings._listener
    if listener is not None:
        studio.in_loop(_done(listener))
    found = api.get("/api/voice/checkpoints", params={"job_id": trained["job_id"]}).json()
    assert found[0]["scores"]["clear_words"] is not None
    assert found[0]["scores"]["mcd_db"] == pytest.approx(4.8)


async def _done(task: asyncio.Task[None]) -> None:
    await asyncio.wait([task])


def test_pictures_are_shown(api: httpx.Client, trained: dict[str, Any]) -> None:
    job = api.get(f"/api/voice/jobs/{trained['job_id']}").json()
    for url in (job["target_picture_url"], job["made_picture_url"]):
        answer = api.get(url)
        assert answer.headers["content-type"] == "image/png"
        assert answer.content.startswith(b"\x89PNG")


def test_a_checkpoint_speaks_any_text_and_says_it_again_without_another_export(
    api: httpx.Client, studio: Studio, trained: dict[str, Any]
) -> None:
    checkpoint = api.get("/api/voice/checkpoints", params={"job_id": trained["job_id"]}).json()[1]
    where = f"/api/voice/checkpoints/{checkpoint['id']}/sample"
    said = api.post(where, json={"text": "Any words at all."})
    assert said.status_code == 200, said.text
    assert said.json()["duration_s"] > 0.1
    assert api.get(said.json()["url"]).content[:4] == b"RIFF"
    folder = studio.app.state.backend.training.options.folder / trained["job_id"] / "listen"
    stamps = {path: path.stat().st_mtime_ns for path in folder.rglob("*.onnx")}
    assert len(stamps) == 1
    assert api.post(where, json={"text": "Other words."}).status_code == 200
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*.onnx")} == stamps
    assert api.post(where, json={"text": "…"}).status_code == 422


def test_a_checkpoint_becomes_a_voice_of_its_own(
    api: httpx.Client, studio: Studio, trained: dict[str, Any]
) -> None:
    where = f"/api/voice/checkpoints/{trained['job_id']}:step-000010/export"
    job = studio.ended(api.post(where).json()["job_id"])
    assert (job.state, job.result["voice"]) == ("done", "mika-v1-10")
    assert job.export_of == trained["job_id"]
    card = api.get("/api/voice/cards/mika-v1-10").json()
    assert (card["steps"], card["clips"]) == (10, 4)
    assert api.post(where, json={"name": "mika-v1"}).status_code == 409
    assert api.delete("/api/voices/mika-v1-10").status_code == 204
    assert api.get("/api/voice/cards/mika-v1-10").status_code == 404


def test_a_training_goes_on_from_a_checkpoint_as_a_job_of_its_own(
    api: httpx.Client, studio: Studio, trained: dict[str, Any]
) -> None:
    where = f"/api/voice/checkpoints/{trained['job_id']}:step-000010/restore"
    answer = api.post(where, json={"budget": {"steps": 30}})
    assert answer.status_code == 202, answer.text
    job = studio.ended(answer.json()["id"])
    assert job.state == "done"
    assert job.result["voice"] == "mika-v1-2"  # there is a mika-v1 already
    assert "so it is called mika-v1-2" in job.message
    found = api.get("/api/voice/checkpoints", params={"job_id": job.id}).json()
    assert [one["step"] for one in found] == [30, 20, 10]
    points = api.get(f"/api/voice/jobs/{job.id}/losses").json()["points"]
    assert points[0]["step"] <= 10
    assert points[-1]["step"] == 30
    before = api.get("/api/voice/checkpoints", params={"job_id": trained["job_id"]}).json()
    assert [one["step"] for one in before] == [20, 10, 0]


def test_a_checkpoint_is_deleted_unless_its_training_needs_it(
    api: httpx.Client, studio: Studio
) -> None:
    answer = train(api, studio, "short", options={"die_at": 15, "die_how": "kill"})
    job = studio.ended(answer.json()["job_id"])
    assert (job.state, job.can_resume) == ("interrupted", True)
    last = f"/api/voice/checkpoints/{job.id}:step-000010"
    first = f"/api/voice/checkpoints/{job.id}:step-000000"
    refused = api.delete(last)
    assert (refused.status_code, "needed to resume" in refused.json()["message"]) == (409, True)
    assert api.delete(first).status_code == 204
    assert api.delete(first).status_code == 404
    assert api.post(f"/api/voice/jobs/{job.id}/resume").json()["state"] == "queued"
    assert studio.ended(job.id).state == "done"
    assert api.delete(f"/api/voice/jobs/{job.id}").status_code == 204
    assert api.get(f"/api/voice/jobs/{job.id}").status_code == 404


def test_an_export_that_is_no_voice_fails_and_leaves_nothing_behind(
    api: httpx.Client, studio: Studio
) -> None:
    job = studio.ended(train(api, studio, "broken", options={"voice": False}).json()["job_id"])
    assert job.state == "failed"
    assert job.message.startswith("broken: ")
    assert "broken" not in [voice["name"] for voice in api.get("/api/voices").json()]
    assert api.get("/api/voice/cards/broken").status_code == 404
    clips = api.get("/api/voice/clips", params={"speaker": studio.speaker}).json()["clips"]
    assert all("broken" not in clip["models"] for clip in clips)


@pytest.mark.parametrize(
    ("fields", "status", "words"),
    [
        ({"name": "../evil"}, 422, "cannot be a voice's name"),
        ({"name": "con"}, 422, "cannot be a voice's name"),
        ({"name": ""}, 422, "cannot be a voice's name"),
        ({"name": "MIKA-V1"}, 409, "already"),
        ({"speaker": "nobody"}, 404, "nobody"),
        ({"speaker": ""}, 422, "Say whose clips"),
        ({"character_id": "nobody"}, 404, "nobody"),
        ({"budget": {"seconds": 0.2}}, 422, "budget.seconds is 0.2"),
        ({"budget": {"steps": 0}}, 422, "budget.steps is 0"),
        ({"rate_hz": 44100}, 422, "rate_hz"),
        ({"trainer": "magic"}, 422, "trainer"),
        ({"language": "en us; rm"}, 422, "is no language"),
        ({"base": "../../etc/passwd"}, 422, "inside the models folder"),
        ({"base": "/etc/passwd.ckpt"}, 422, "inside the models folder"),
        ({"base": "bases/none.ckpt"}, 404, "no base checkpoint"),
        ({"base_sha256": "abc"}, 422, "SHA-256"),
        ({"options": {"job": "/etc"}}, 422, "options.job cannot be set"),
        ({"options": {"x": "y" * 300}}, 422, "options.x"),
        ({"clip_ids": [999_999]}, 404, "999999"),
    ],
)
def test_what_cannot_be_trained_is_refused_before_it_begins(
    api: httpx.Client,
    studio: Studio,
    trained: dict[str, Any],
    fields: dict[str, Any],
    status: int,
    words: str,
) -> None:
    before = api.get("/api/voice/jobs").json()
    answer = train(api, studio, **{"name": "new", **fields})
    assert answer.status_code == status, answer.text
    assert words in answer.json()["message"].replace("999,999", "999999")
    assert api.get("/api/voice/jobs").json() == before


def test_too_few_clips_and_a_person_who_was_not_asked_are_refused(
    api: httpx.Client, studio: Studio, tmp_path: Path
) -> None:
    few = train(api, studio, "few", speaker="", clip_ids=studio.clip_ids[:2])
    assert few.status_code == 409
    assert "at least 4 clips" in few.json()["message"]
    data = studio.app.state.backend.voice_data
    speaker, _ = studio.in_loop(speaker_with_clips(data, tmp_path, name="Person"))
    studio.in_loop(data.speakers._keep(_a_person(data.speakers.known(speaker)), "changed"))
    refused = train(api, studio, "person", speaker=speaker)
    assert refused.status_code == 409
    assert "agreed" in refused.json()["message"]


def _a_person(row: Any) -> Any:
    from dataclasses import replace

    return replace(row, synthetic=False, consent="")


@pytest.mark.parametrize(
    "url",
    [
        "/api/voice/samples/{job}/..%2F..%2Fjob.json",
        "/api/voice/samples/{job}/job.json",
        "/api/voice/samples/{job}/..",
        "/api/voice/samples/..%2F{job}/step-000010.wav",
        "/api/voice/samples/nothing/step-000010.wav",
        "/api/voice/jobs/..%2F..%2Fetc/log",
        "/api/voice/jobs/nothing/losses",
        "/api/voice/cards/..%2F..%2Fluma.db",
    ],
)
def test_nothing_outside_a_jobs_samples_is_served(
    api: httpx.Client, trained: dict[str, Any], url: str
) -> None:
    answer = api.get(url.format(job=trained["job_id"]))
    assert answer.status_code in (404, 422), answer.text


def test_strangers_reach_none_of_it(studio: Studio, trained: dict[str, Any]) -> None:
    with studio.stranger() as client:
        for method, url in (
            ("GET", "/api/voice/jobs"),
            ("POST", "/api/voice/train"),
            ("GET", f"/api/voice/samples/{trained['job_id']}/step-000010.wav"),
            ("DELETE", f"/api/voice/jobs/{trained['job_id']}"),
            ("GET", "/api/voice/cards/mika-v1"),
        ):
            assert client.request(method, url).status_code == 401
            overlay = {"token": studio.overlay_token}
            assert client.request(method, url, params=overlay).status_code in (401, 403)


def test_two_trainings_that_ask_for_one_name_at_once_do_not_both_get_it(
    studio: Studio,
) -> None:
    async def both() -> list[Any]:
        wanted = TrainRequest("twins", speaker=studio.speaker, steps=20, test_sentence="script")
        start = studio.app.state.backend.trainings.start
        return [*await asyncio.gather(start(wanted), start(wanted), return_exceptions=True)]

    found = studio.in_loop(both())
    assert sorted(type(one).__name__ for one in found) == ["ConflictError", "Job"]
    assert studio.ended(next(one for one in found if isinstance(one, Job)).id).state == "done"


def test_a_voice_whose_name_was_taken_while_it_came_home_gets_another_when_resumed(
    api: httpx.Client,
    studio: Studio,
    trained: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    voices = studio.app.state.backend.voices

    async def too_late(model: Path, settings: Path, name: str, **_: Any) -> None:
        for end in ("onnx", "onnx.json"):
            shutil.copyfile(voices._folder / f"mika-v1.{end}", voices._folder / f"{name}.{end}")
        shutil.rmtree(model.parent)
        raise ConflictError(f"There is a voice {name!r} already.")

    with monkeypatch.context() as patch:
        patch.setattr(voices, "bring_in", too_late)
        job = studio.ended(train(api, studio, "taken").json()["job_id"])
        assert job.state == "failed"
    assert api.post(f"/api/voice/jobs/{job.id}/resume").status_code == 200
    job = studio.ended(job.id)
    assert (job.state, job.result.get("voice")) == ("done", "taken-2"), job.message
