"""Recordings come in, become clips, are looked through and changed, over HTTP as the window does it."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import json
import math
import shutil
import struct
import sys
from array import array
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from backend.app import create_app
from backend.audio import espeak
from backend.audio.wav import read_wav, to_wav
from backend.clients.microphone import FileMicrophones
from backend.server import BackendThread
from backend.training import clips as clips_module
from backend.training.clips import Made
from config import LoadedSettings
from tests.fakes import Watch
from tests.integration.conftest import Served, serve, settings_for

RATE_HZ = 22_050
CUTTER = (sys.executable, "-m", "tests.fake_cutter")
CONSENT = "This is my own voice; it may be recorded and trained."


def tone(seconds: float, hz: float = 220.0, level: float = 0.3) -> bytes:
    """A tone in syllables, so that it looks alive to measures."""
    samples = array(
        "h",
        (
            int(
                32767
                * level
                * (0.5 - 0.5 * math.cos(2 * math.pi * 4 * n / RATE_HZ))
                * math.sin(2 * math.pi * hz * n / RATE_HZ)
            )
            for n in range(round(seconds * RATE_HZ))
        ),
    )
    return to_wav(samples.tobytes(), RATE_HZ)


def in_loop(served: Served, work: Any, timeout_s: float = 20) -> Any:
    """Run a coroutine in the backend's loop."""
    loop = served.app.state.backend._loop
    return asyncio.run_coroutine_threadsafe(work, loop).result(timeout_s)


def made(folder: Path, uid: str, speaker: str, **fields: Any) -> Made:
    """A clip as the trainer would hand it over."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{uid}.wav"
    path.write_bytes(tone(fields.get("duration_s", 2.0), fields.pop("hz", 220.0)))
    values: dict[str, Any] = {
        "uid": uid,
        "path": path,
        "upload_id": "",
        "source": "take one.wav",
        "start_s": 1.0,
        "end_s": 3.0,
        "duration_s": 2.0,
        "text": "The lantern refused to go out.",
        "text_from": "import",
        "speaker": speaker,
        "emotion": "",
        "language": "en-us",
        "grade": "A",
        "reasons": (),
        "measures": {"snr_db": 40.0, "lufs": -20.0},
    }
    return Made(**(values | fields))


def serve_with_cutter(folder: Path, **changes: object) -> Iterator[Served]:
    """A backend whose trainer cuts in milliseconds."""
    settings = settings_for(folder, **changes)
    app = create_app(LoadedSettings.of(settings), trainer=CUTTER)
    with BackendThread(settings, make_app=lambda: app) as backend:
        token = (settings.data_dir / "api_token").read_text().strip()
        jobs = app.state.backend.training
        jobs.options = replace(jobs.options, poll_s=0.02)
        yield Served(backend, app, token, "")


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """One backend for this file."""
    yield from serve_with_cutter(tmp_path_factory.mktemp("luma"))


class Data:
    """A speaker with clips, and the way to them."""

    def __init__(self, served: Served, api: httpx.Client, folder: Path, name: str) -> None:
        self.served, self.api, self.folder = served, api, folder
        self.speaker = api.post("/api/voice/speakers", json={"name": name}).json()["id"]
        self.clips_folder = served.app.state.backend.voice_data.clips._folder

    def add(self, uid: str, **fields: Any) -> int:
        clips = self.served.app.state.backend.voice_data.clips
        row = in_loop(
            self.served,
            clips.arrive(made(self.folder, uid, self.speaker, **fields), "process-1"),
        )
        assert row is not None
        in_loop(
            self.served,
            clips.judge(row.uid, row.grade, row.reasons, row.measures, row.transcript),
        )
        return int(row.id)

    def page(self, **wanted: Any) -> Any:
        wanted.setdefault("speaker", self.speaker)
        answer = self.api.get("/api/voice/clips", params=wanted)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def job(self, path: str, body: dict[str, Any], timeout_s: float = 20) -> Any:
        """Start a job and wait for its end."""
        backend = self.served.app.state.backend

        async def run() -> str:
            async with Watch(backend.bus) as seen:
                answer = await asyncio.to_thread(self.api.post, path, json=body)
                assert answer.status_code == 202, answer.text
                job_id: str = answer.json()["job_id"]
                async with asyncio.timeout(timeout_s):
                    while not any(
                        event.type in ("training.completed", "training.failed")
                        or getattr(event, "state", "") in ("interrupted", "cancelled")
                        for event in seen.events
                        if event.job_id == job_id
                    ):
                        seen._changed.clear()
                        await seen._changed.wait()
                self.events = seen.events
                return job_id

        job_id = in_loop(self.served, run(), timeout_s + 1)
        return self.api.get(f"/api/voice/jobs/{job_id}").json()

    def files(self) -> dict[str, str]:
        return {
            path.name: hashlib.sha256(path.read_bytes()).hexdigest()
            for path in self.clips_folder.glob("*.wav")
        }


@pytest.fixture
def data(
    served: Served, api: httpx.Client, tmp_path: Path, request: pytest.FixtureRequest
) -> Iterator[Data]:
    """A fresh speaker for a test."""
    name = f"Speaker {hashlib.sha256(request.node.name.encode()).hexdigest()[:12]}"
    found = Data(served, api, tmp_path / "job", name)
    yield found
    api.delete(f"/api/voice/speakers/{found.speaker}", params={"confirm": found.speaker})


def upload(api: httpx.Client, *files: tuple[str, bytes], **fields: str) -> Any:
    answer = api.post(
        "/api/voice/upload", files=[("files", (name, data)) for name, data in files], data=fields
    )
    assert answer.status_code == 201, answer.text
    return answer.json()


# --- speakers ---


def test_a_speaker_is_made_changed_and_gives_consent(api: httpx.Client, served: Served) -> None:
    made_ = api.post("/api/voice/speakers", json={"name": "Zoë Müller", "language": "de"})
    assert made_.status_code == 201
    assert made_.json()["id"] == "zoe-muller"
    again = api.post("/api/voice/speakers", json={"name": "zoë müller"})
    assert again.status_code == 409
    agreed = api.post("/api/voice/speakers/zoe-muller/consent", json={"statement": CONSENT})
    assert agreed.json()["consent"] == CONSENT
    changed = api.patch("/api/voice/speakers/zoe-muller", json={"name": "Zoë"}).json()
    assert (changed["name"], changed["consent"], changed["language"]) == ("Zoë", CONSENT, "de")
    folder = served.app.state.backend.loaded.settings.data_dir / "training" / "speakers"
    assert json.loads((folder / "zoe-muller.json").read_text())["consent"] == CONSENT
    assert api.delete("/api/voice/speakers/zoe-muller").status_code == 409
    gone = api.delete("/api/voice/speakers/zoe-muller", params={"confirm": "zoe-muller"})
    assert gone.json() == {"clips": 0, "voices": []}
    assert not (folder / "zoe-muller.json").exists()


@pytest.mark.parametrize("language", ["klingon!", "", "../de", "e"])
def test_a_language_must_look_like_one(api: httpx.Client, language: str) -> None:
    answer = api.post("/api/voice/speakers", json={"name": "X", "language": language})
    assert answer.status_code == 422


# --- uploads ---


def test_files_are_known_by_what_they_hold_not_by_their_names(data: Data) -> None:
    flac = b"fLaC" + bytes(100)
    answer = upload(
        data.api,
        ("notes.txt", tone(0.5)),
        ("song.mp3", flac),
        ("metadata.csv", b"LJ001|Hello there.|Hello there.\n"),
        ("virus.wav", b"MZ" + bytes(range(256))),
        ("empty.wav", b""),
        speaker=data.speaker,
    )
    kinds = {one["filename"]: (one["kind"], bool(one["problem"])) for one in answer["uploads"]}
    assert kinds == {
        "notes.txt": ("sound", False),
        "song.mp3": ("sound", False),
        "metadata.csv": ("transcripts", False),
        "virus.wav": ("sound", True),
        "empty.wav": ("sound", True),
    }
    assert len(answer["upload_ids"]) == 3
    listed = data.api.get("/api/voice/uploads", params={"speaker": data.speaker}).json()
    assert [one["id"] for one in listed] == answer["upload_ids"]
    folder = data.served.app.state.backend.voice_data.uploads._folder
    here = {one["filename"]: folder / one["id"] / "sound.wav" for one in listed}["notes.txt"]
    assert here.read_bytes() == tone(0.5)
    assert listed[0]["sha256"] == hashlib.sha256(tone(0.5)).hexdigest()


def test_names_of_files_lead_nowhere(data: Data) -> None:
    names = [
        "../../../etc/passwd.wav",
        "..\\..\\windows\\system.wav",
        "a\x01b\x7f\u202ec.wav",
        "x" * 300 + ".wav",
        "..",
        "con.wav",
    ]
    uploads = data.served.app.state.backend.voice_data.uploads._folder
    before = {path for path in uploads.parent.parent.rglob("*") if uploads not in path.parents}
    answer = upload(
        data.api,
        *((name, tone(0.1, 200 + n)) for n, name in enumerate(names)),
        speaker=data.speaker,
    )
    shown = [one["filename"] for one in answer["uploads"]]
    assert shown[0] == "passwd.wav"
    assert shown[1] == "system.wav"
    assert not any(ord(c) < 32 or c in "/\\\u202e\x7f" for name in shown for c in name)
    assert max(len(name.encode()) for name in shown) <= 200
    assert shown[3].endswith(".wav")
    assert shown[4] == "recording"
    after = {path for path in uploads.parent.parent.rglob("*") if uploads not in path.parents}
    assert after - before <= {path for path in after if "luma.db" in path.name}


def test_the_same_file_again_is_recognised(data: Data) -> None:
    first = upload(data.api, ("a.wav", tone(0.3)), speaker=data.speaker)
    second = upload(data.api, ("b.wav", tone(0.3)), speaker=data.speaker)
    assert second["upload_ids"] == first["upload_ids"]
    assert second["uploads"][0]["is_duplicate"]
    assert second["uploads"][0]["filename"] == "a.wav"


def test_a_folder_dropped_twice_has_nothing_new(data: Data) -> None:
    folder = (("a.wav", tone(1.0, 310)), ("metadata.csv", b"a.wav|hello"))
    first = upload(data.api, *folder, speaker=data.speaker)
    assert len(first["upload_ids"]) == 2
    data.job("/api/voice/process", {"upload_ids": first["upload_ids"], "transcribe": False})
    second = upload(data.api, *folder, speaker=data.speaker)
    assert second["upload_ids"] == []
    assert {one["is_duplicate"] for one in second["uploads"]} == {True}
    more = upload(data.api, *folder, ("b.wav", tone(1.0, 320)), speaker=data.speaker)
    assert [one["filename"] for one in more["uploads"] if one["id"] in more["upload_ids"]] == [
        "metadata.csv",
        "b.wav",
    ]
    clip = data.page()["clips"][0]["id"]
    data.api.delete(f"/api/voice/clips/{clip}")
    again = upload(data.api, *folder, speaker=data.speaker)
    assert set(again["upload_ids"]) == set(first["upload_ids"])


def test_a_file_that_is_too_large_is_refused_alone(tmp_path: Path) -> None:
    for served in serve(tmp_path, voice_upload_mb=2):
        served.app.state.backend.voice_data.uploads.limit_bytes = 100_000
        with served.client() as api:
            answer = upload(api, ("big.wav", tone(5)), ("small.wav", tone(0.2)))
            assert "VOICE_UPLOAD_MB" in answer["uploads"][0]["problem"]
            assert answer["upload_ids"] == [answer["uploads"][1]["id"]]
            whole = api.post("/api/voice/upload", files={"files": ("x.wav", bytes(3 << 20))})
            assert whole.status_code == 413
        folder = served.app.state.backend.voice_data.uploads._folder
        assert [path.name for path in folder.iterdir()] == answer["upload_ids"]


def test_text_under_the_name_of_a_sound_is_refused_at_once(api: httpx.Client) -> None:
    answer = upload(
        api, ("take.wav", b"MZ not a sound at all\n"), ("list.txt", b"a|Hello there.\n")
    )
    wrong, right = answer["uploads"]
    assert "take.wav has the name of a sound" in wrong["problem"]
    assert right["kind"] == "transcripts"
    assert not right["problem"]


def test_a_recording_may_be_larger_than_other_uploads(tmp_path: Path) -> None:
    for served in serve(tmp_path, api_max_upload_mb=1, voice_upload_mb=8):
        with served.client() as api:
            answer = upload(api, ("long.wav", tone(0.1) + bytes(3 << 20)))
            assert answer["uploads"][0]["size_bytes"] > 3 << 20


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"--b\r\nContent-Disposition: form-data; name=x; filename=a.wav\r\n\r\nRIFF",
        b"--b\r\n" + b"X-A: " + b"a" * 20_000 + b"\r\n\r\n--b--\r\n",
        b'--b\r\nContent-Disposition: form-data; name="speaker"\r\n\r\n'
        + b"a" * 20_000
        + b"\r\n--b--\r\n",
        b"no form at all",
        b'--b\r\nContent-Disposition: form-data; name="x"\r\n\r\ny\r\n--b--\r\n',
    ],
)
def test_a_broken_form_is_refused_and_leaves_nothing(
    api: httpx.Client, served: Served, content: bytes
) -> None:
    folder = served.app.state.backend.voice_data.uploads._folder
    before = set(folder.iterdir())
    answer = api.post(
        "/api/voice/upload",
        content=content,
        headers={"Content-Type": "multipart/form-data; boundary=b"},
    )
    assert answer.status_code == 422
    assert set(folder.iterdir()) == before


def test_an_upload_for_nobody_known_is_refused(api: httpx.Client) -> None:
    answer = api.post(
        "/api/voice/upload", files={"files": ("a.wav", tone(0.1))}, data={"speaker": "nobody"}
    )
    assert answer.status_code == 404
    assert "nobody" in answer.json()["message"]


def test_a_full_disk_is_said_before_anything_comes(
    api: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil._ntuple_diskusage(10**12, 10**12 - 1000, 1000)  # type: ignore[attr-defined]
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    answer = api.post("/api/voice/upload", files={"files": ("a.wav", tone(0.1))})
    assert answer.status_code == 507
    assert answer.json()["code"] == "storage.full"


# --- clips ---


def test_clips_are_listed_filtered_sorted_and_summed(data: Data) -> None:
    first = data.add("list1", measures={"snr_db": 20.0})
    second = data.add("list2", text="Seven purple umbrellas", measures={"snr_db": 41.0})
    third = data.add("list3", text="", grade="C", reasons=("clipped",), measures={})
    page = data.page(sort="snr", descending=True)
    assert [clip["id"] for clip in page["clips"]] == [second, first, third]
    assert (page["total"], page["accepted"], page["waiting"]) == (3, 2, 1)
    assert page["grades"] == {"A": 2, "C": 1}, "a chip counts the clips it shows"
    assert page["minutes"] == {"A": pytest.approx(4 / 60, abs=1e-3)}
    assert [c["id"] for c in data.page(text="PURPLE")["clips"]] == [second]
    assert [c["id"] for c in data.page(grade="C")["clips"]] == [third]
    assert [c["id"] for c in data.page(status="accepted", offset=1)["clips"]] == [second]
    assert data.page(limit=1)["total"] == 3
    assert [c["id"] for c in data.page(ids=f"{third},{first}")["clips"]] == [first, third]
    assert data.api.get("/api/voice/clips", params={"ids": "1;drop"}).status_code == 422


def test_a_clip_plays_on_the_stages_output(data: Data) -> None:
    clip = data.add("play1")
    answer = data.api.post(f"/api/voice/clips/{clip}/play", json={}).json()
    assert answer["duration_s"] == pytest.approx(2.0, abs=0.05)
    sound = data.api.get(answer["url"])
    assert sound.content[:4] == b"RIFF"
    data.api.post("/api/audio/stop", json={})
    assert data.api.post("/api/voice/clips/987654321/play", json={}).status_code == 404


@pytest.mark.parametrize("ids", ["1,,x", "9" * 3999, "-1", "1.5", ",".join(["1"] * 600), "٣"])
def test_ids_that_are_none_are_refused(api: httpx.Client, ids: str) -> None:
    answer = api.get("/api/voice/clips", params={"ids": ids})
    assert answer.status_code == 422
    assert answer.json()["code"] == "input.invalid"


def test_a_clip_is_heard_in_parts(data: Data) -> None:
    clip = data.add("hear1")
    whole = data.api.get(f"/api/voice/clips/{clip}/audio")
    assert whole.headers["content-type"] == "audio/wav"
    part = data.api.get(f"/api/voice/clips/{clip}/audio", headers={"Range": "bytes=0-43"})
    assert part.status_code == 206
    assert part.content == whole.content[:44]


def test_a_clip_is_drawn_once_and_then_known_by_its_tag(data: Data) -> None:
    clip = data.add("draw1", hz=1000.0)
    peaks = data.api.get(f"/api/voice/clips/{clip}/peaks", params={"columns": 50}).json()
    assert len(peaks["low"]) == len(peaks["high"]) == 50
    assert max(peaks["high"]) == pytest.approx(0.3, abs=0.02)
    address = f"/api/voice/clips/{clip}/spectrogram?width=64&height=32"
    picture = data.api.get(address)
    assert struct.unpack(">II", picture.content[16:24]) == (64, 32)
    same = data.api.get(address, headers={"If-None-Match": picture.headers["ETag"]})
    assert same.status_code == 304
    assert not same.content


def test_many_clips_are_changed_as_one_step(data: Data) -> None:
    ids = [data.add(f"many{n}", text="", grade="A") for n in range(3)]
    answer = data.api.patch("/api/voice/clips", json={"ids": ids, "status": "rejected"})
    assert {clip["status"] for clip in answer.json()["clips"]} == {"rejected"}
    assert data.page()["can_undo"] == "rejection of 3 clips"
    undone = data.api.post("/api/voice/clips/undo").json()
    assert undone["undone"] == "rejection of 3 clips"
    assert {clip["status"] for clip in undone["clips"]} == {"new"}


def test_a_transcript_written_by_hand_is_the_users(data: Data) -> None:
    clip = data.add("text1", measures={"match": 0.5}, grade="C", reasons=("words differ",))
    answer = data.api.patch(f"/api/voice/clips/{clip}", json={"transcript": " Hello   there "})
    changed = answer.json()
    assert (changed["transcript"], changed["text_from"]) == ("Hello there", "user")
    data.api.post("/api/voice/clips/undo")
    back = data.api.get(f"/api/voice/clips/{clip}").json()
    assert back["transcript"] == "The lantern refused to go out."
    assert back["text_from"] == "import"
    assert back["measures"] == {"match": 0.5}


def test_nothing_is_changed_when_one_clip_is_not_there(data: Data) -> None:
    clip = data.add("none1")
    answer = data.api.patch("/api/voice/clips", json={"ids": [clip, 99999], "emotion": "joy"})
    assert answer.status_code == 404
    assert data.api.get(f"/api/voice/clips/{clip}").json()["emotion"] == ""
    assert data.api.patch(f"/api/voice/clips/{clip}", json={}).status_code == 422


def test_every_edit_of_sound_can_be_taken_back(data: Data) -> None:
    clip = data.add("edit1", duration_s=3.0)
    original = data.files()
    states = [data.files()]
    trimmed = data.api.post(
        f"/api/voice/clips/{clip}/trim", json={"start_s": 0.5, "end_s": 2.5}
    ).json()
    assert trimmed["duration_s"] == pytest.approx(2.0, abs=0.01)
    assert (trimmed["start_s"], trimmed["end_s"], trimmed["edited"]) == (1.5, 3.5, True)
    assert trimmed["sha256"] == data.files()["edit1.wav"] != original["edit1.wav"]
    states.append(data.files())
    before = data.api.get(f"/api/voice/clips/{clip}/audio", params={"before": True})
    assert hashlib.sha256(before.content).hexdigest() == original["edit1.wav"]
    clean = data.api.post(f"/api/voice/clips/{clip}/denoise").json()
    assert clean["measures"]["denoised"] == 1
    states.append(data.files())
    assert data.files()["edit1.before.wav"] == original["edit1.wav"]
    restored = data.api.post(f"/api/voice/clips/{clip}/restore").json()
    assert (restored["start_s"], restored["end_s"], restored["edited"]) == (1.0, 3.0, False)
    assert data.files() == original
    for what, state in zip(("restoring", "denoising", "trim"), reversed(states), strict=True):
        answer = data.api.post("/api/voice/clips/undo").json()
        assert answer["undone"] == f"{what} of clip {clip}"
        assert data.files() == state
    last = data.api.get(f"/api/voice/clips/{clip}").json()
    assert (last["edited"], last["sha256"]) == (False, original["edit1.wav"])


def test_a_split_makes_two_and_undo_one_again(data: Data) -> None:
    clip = data.add("split1", duration_s=3.0, prompt_id="en-1")
    original = data.files()
    answer = data.api.post(
        f"/api/voice/clips/{clip}/split", json={"at_s": 1.2, "transcripts": ["One.", "Two."]}
    )
    first, second = answer.json()["clips"]
    assert (first["transcript"], second["transcript"]) == ("One.", "Two.")
    assert first["duration_s"] == pytest.approx(1.2, abs=0.01)
    assert second["start_s"] == pytest.approx(2.2)
    assert {c["id"] for c in data.page()["clips"]} == {first["id"], second["id"]}
    undone = data.api.post("/api/voice/clips/undo").json()
    assert [c["id"] for c in undone["clips"]] == [clip]
    assert data.files() == original


def test_a_cut_that_leaves_nothing_is_refused_and_changes_nothing(data: Data) -> None:
    clip = data.add("short1")
    original = data.files()
    for path, body in (
        ("trim", {"start_s": 1.0, "end_s": 1.1}),
        ("trim", {"start_s": 1.5, "end_s": 0.5}),
        ("split", {"at_s": 0.01}),
    ):
        answer = data.api.post(f"/api/voice/clips/{clip}/{path}", json=body)
        assert answer.status_code == 422, answer.text
    assert data.files() == original
    assert data.api.post(f"/api/voice/clips/{clip}/restore").status_code == 404
    assert [c["id"] for c in data.page()["clips"]] == [clip]


def test_a_deleted_clip_comes_back_with_undo(data: Data) -> None:
    ids = [data.add(f"del{n}") for n in range(2)]
    assert data.api.request("DELETE", "/api/voice/clips", json={"ids": ids}).status_code == 204
    assert data.page()["total"] == 0
    assert data.api.get(f"/api/voice/clips/{ids[0]}").status_code == 404
    undone = data.api.post("/api/voice/clips/undo").json()
    assert [c["id"] for c in undone["clips"]] == ids
    assert data.page()["total"] == 2


def test_a_removed_speaker_leaves_no_trace(data: Data) -> None:
    data.api.post(f"/api/voice/speakers/{data.speaker}/consent", json={"statement": CONSENT})
    clip = data.add("gone1", duration_s=3.0)
    data.api.post(f"/api/voice/clips/{clip}/trim", json={"start_s": 0.5, "end_s": 2.5})
    other = data.add("gone2")
    data.api.delete(f"/api/voice/clips/{other}")
    upload(data.api, ("mine.wav", tone(0.4)), speaker=data.speaker)
    backend = data.served.app.state.backend
    in_loop(data.served, backend.voice_data.clips.trained("hoshi-v1", ["gone1"]))
    assert data.api.get(f"/api/voice/clips/{clip}").json()["models"] == ["hoshi-v1"]
    answer = data.api.delete(
        f"/api/voice/speakers/{data.speaker}", params={"confirm": data.speaker}
    )
    assert answer.json() == {"clips": 1, "voices": ["hoshi-v1"]}
    training = backend.loaded.settings.data_dir / "training"
    left = [path for path in training.rglob("*") if path.is_file()]
    assert not [p for p in left if "gone" in p.name or data.speaker in p.name]
    texts = [p.read_text() for p in left if p.suffix in (".json", ".jsonl")]
    assert not [text for text in texts if data.speaker in text]


def test_the_manifest_says_what_rows_and_files_say(data: Data) -> None:
    clip = data.add("mani1")
    data.api.patch(f"/api/voice/clips/{clip}", json={"transcript": "Out."})
    backend = data.served.app.state.backend
    in_loop(data.served, backend.voice_data.clips._write_manifest())
    lines = (data.clips_folder / "manifest.jsonl").read_text().splitlines()
    line = next(each for each in map(json.loads, lines) if each["uid"] == "mani1")
    assert line["transcript"] == "Out."
    assert line["sha256"] == data.files()["mani1.wav"]


def test_training_wants_consent_and_the_files_that_were_checked_in(data: Data) -> None:
    clips = data.served.app.state.backend.voice_data.clips
    clip = data.add("train1")
    data.add("train2", text="")
    with pytest.raises(Exception, match="agreed"):
        in_loop(data.served, clips.for_training(data.speaker))
    data.api.post(f"/api/voice/speakers/{data.speaker}/consent", json={"statement": CONSENT})
    found = in_loop(data.served, clips.for_training(data.speaker))
    assert [one.uid for one in found] == ["train1"]
    assert found[0].sha256 == data.files()["train1.wav"]
    (data.clips_folder / "train1.wav").write_bytes(tone(1.0))
    with pytest.raises(Exception, match=f"clip {clip}"):
        in_loop(data.served, clips.for_training("", [clip]))


# --- processing ---


def test_recordings_become_clips_and_one_bad_file_stops_nothing(data: Data) -> None:
    answer = upload(
        data.api,
        ("one.wav", tone(2.0, 300)),
        ("two.wav", tone(3.0, 400)),
        ("bad.wav", b"RIFF\x00\x00\x00\x00WAVEnothing"),
        speaker=data.speaker,
    )
    job = data.job("/api/voice/process", {"upload_ids": answer["upload_ids"], "transcribe": False})
    assert (job["state"], job["result"]["clips"]) == ("done", 5)
    assert job["message"] == (
        "5 clips from 2 files (5 A); 5 clips without a transcript; 1 file could not be used."
    )
    page = data.page()
    assert [clip["source"] for clip in page["clips"]] == ["one.wav"] * 2 + ["two.wav"] * 3
    assert {clip["status"] for clip in page["clips"]} == {"new"}
    for clip in page["clips"]:
        assert data.files()[f"{clip['uid']}.wav"] == clip["sha256"]
    uploads = data.api.get("/api/voice/uploads", params={"speaker": data.speaker}).json()
    assert [one["processed"] for one in uploads] == [True, True, False]
    assert "bad.wav" in uploads[2]["problem"]
    types = [event.type for event in data.events]
    assert types.count("audio.processed") == 2
    assert "clips.changed" in types


def test_the_same_recording_cut_again_doubles_nothing(data: Data) -> None:
    answer = upload(data.api, ("again.wav", tone(2.0, 500)), speaker=data.speaker)
    body = {"upload_ids": answer["upload_ids"], "transcribe": False}
    data.job("/api/voice/process", body)
    first = data.page()["clips"]
    data.api.patch(f"/api/voice/clips/{first[0]['id']}", json={"transcript": "mine"})
    data.api.delete(f"/api/voice/clips/{first[1]['id']}")
    data.job("/api/voice/process", body)
    again = {clip["id"]: clip["transcript"] for clip in data.page()["clips"]}
    assert again == {first[0]["id"]: "mine", first[1]["id"]: ""}


def test_a_recording_of_somebody_else_keeps_its_clips(data: Data) -> None:
    other = data.api.post("/api/voice/speakers", json={"name": "Other"}).json()["id"]
    for whose in (other, data.speaker):
        answer = upload(data.api, ("same.wav", tone(1.0, 555)), speaker=whose)
        body = {"upload_ids": answer["upload_ids"], "transcribe": False}
        assert data.job("/api/voice/process", body)["result"]["clips"] == 1
    assert data.page()["total"] == data.page(speaker=other)["total"] == 1
    data.api.delete(f"/api/voice/speakers/{other}", params={"confirm": other})
    assert data.page()["total"] == 1


def test_what_was_denoised_can_be_restored(data: Data) -> None:
    answer = upload(data.api, ("noisy.wav", tone(1.0, 600)), speaker=data.speaker)
    body = {"upload_ids": answer["upload_ids"], "denoise": True, "transcribe": False}
    data.job("/api/voice/process", body)
    clip = data.page()["clips"][0]
    assert clip["edited"]
    restored = data.api.post(f"/api/voice/clips/{clip['id']}/restore").json()
    assert (restored["edited"], restored["start_s"], restored["end_s"]) == (False, 0.0, 1.0)
    assert restored["sha256"] == data.files()[f"{clip['uid']}.wav"] != clip["sha256"]


def test_a_recogniser_writes_what_has_no_transcript_and_a_check_judges_it(data: Data) -> None:
    backend = data.served.app.state.backend
    said = iter(["all is well", "wrong words", ""])

    async def hear(audio: Any, language: str) -> Any:
        from backend.contracts.entities import Transcript

        assert language == "en"
        return Transcript(next(said), engine="whisper")

    processing = backend.voice_data.processing
    old, processing._hear = processing._hear, hear
    try:
        answer = upload(data.api, ("talk.wav", tone(3.0, 700)), speaker=data.speaker)
        job = data.job("/api/voice/process", {"upload_ids": answer["upload_ids"]})
    finally:
        processing._hear = old
    assert job["result"]["needs_text"] == 1
    found = [
        (clip["transcript"], clip["text_from"], clip["grade"], clip["status"])
        for clip in data.page()["clips"]
    ]
    assert found == [
        ("all is well", "whisper", "A", "accepted"),
        ("wrong words", "whisper", "C", "new"),
        ("", "", "A", "new"),
    ]


def test_without_a_recogniser_clips_wait_for_their_words(data: Data) -> None:
    answer = upload(data.api, ("mute.wav", tone(2.0, 800)), speaker=data.speaker)
    backend = data.served.app.state.backend
    old, backend.engines.recognisers = backend.engines.recognisers, {}
    try:
        job = data.job("/api/voice/process", {"upload_ids": answer["upload_ids"]})
    finally:
        backend.engines.recognisers = old
    assert job["state"] == "done"
    assert "2 clips need a transcript" in job["warnings"][0]


def test_a_guess_of_the_basic_recogniser_waits_for_review(data: Data) -> None:
    clips = data.served.app.state.backend.voice_data.clips
    clip = data.add("guess1", text="")
    in_loop(data.served, clips.hear("guess1", "the lantern", "recogniser", "en"))
    in_loop(data.served, clips.judge("guess1", "A", (), {"match": 0.3}, "the lantern"))
    found = data.api.get(f"/api/voice/clips/{clip}").json()
    assert (found["grade"], found["status"]) == ("B", "new")
    assert found["reasons"] == ["read by the basic recogniser"]
    fixed = data.api.patch(f"/api/voice/clips/{clip}", json={"transcript": "the lantern"}).json()
    assert (fixed["text_from"], fixed["reasons"]) == ("user", [])


def test_a_trainer_that_dies_is_resumed_without_loss(
    data: Data, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = data.served.app.state.backend
    answer = upload(data.api, ("long.wav", tone(6.0, 900)), speaker=data.speaker)
    monkeypatch.setattr(
        "backend.training.processing._options",
        lambda phase, denoise: {"phase": phase, "denoise": denoise, "die_after": 3},
    )
    body = {"upload_ids": answer["upload_ids"], "transcribe": False}
    job = data.job("/api/voice/process", body)
    assert job["state"] == "interrupted"
    first = data.page()["clips"]
    assert len(first) == 3

    async def resumed() -> None:
        async with Watch(backend.bus) as seen:
            await asyncio.to_thread(data.api.post, f"/api/voice/jobs/{job['id']}/resume")
            await seen.until("training.completed")

    in_loop(data.served, resumed())
    assert data.page()["total"] == 6
    assert data.page()["clips"][:3] == first


def test_clips_that_could_not_be_taken_in_are_not_left_behind(
    data: Data, monkeypatch: pytest.MonkeyPatch
) -> None:
    take_in, failures = clips_module._take_in, iter([True, False, True])

    def full(source: Path, target: Path) -> str:
        if next(failures, False):
            raise OSError(errno.ENOSPC, "No space left on device")
        return take_in(source, target)

    monkeypatch.setattr(clips_module, "_take_in", full)
    answer = upload(data.api, ("full.wav", tone(4.0, 950)), speaker=data.speaker)
    body = {"upload_ids": answer["upload_ids"], "transcribe": False}
    job = data.job("/api/voice/process", body)
    assert job["state"] == "done"
    assert "could not be taken in" in job["warnings"][0]
    assert data.page()["total"] == 4


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"upload_ids": ["0123456789abcdef"]}, 404),
        ({"upload_ids": []}, 422),
        ({"upload_ids": ["x"], "speaker": "nobody"}, 404),
        ({"upload_ids": ["x"], "language": "../../etc"}, 422),
    ],
)
def test_nothing_is_processed_that_is_not_there(
    api: httpx.Client, body: dict[str, Any], status: int
) -> None:
    assert api.post("/api/voice/process", json=body).status_code == status


def test_transcripts_alone_are_no_recordings(data: Data) -> None:
    answer = upload(data.api, ("list.csv", b"a|hello there"), speaker=data.speaker)
    refused = data.api.post("/api/voice/process", json={"upload_ids": answer["upload_ids"]})
    assert refused.status_code == 422
    assert "only lists of transcripts" in refused.json()["message"]


def test_a_transcript_of_a_person_is_checked_in_the_background(data: Data) -> None:
    backend = data.served.app.state.backend
    clip = data.add("recheck1", measures={"match": 0.31})
    data.api.patch(f"/api/voice/clips/{clip}", json={"transcript": "these words are wrong"})
    in_loop(data.served, backend.voice_data.checks.idle())
    found = data.api.get(f"/api/voice/clips/{clip}").json()
    assert (found["grade"], found["measures"]["match"]) == ("C", 0.6)
    assert found["status"] == "accepted"
    data.api.post("/api/voice/clips/undo")
    back = data.api.get(f"/api/voice/clips/{clip}").json()
    assert (back["grade"], back["measures"]["match"]) == ("A", 0.31)


# --- the doctor and prompts ---


def test_the_doctor_reports_in_ids_and_knows_when_it_is_out_of_date(data: Data) -> None:
    address = f"/api/voice/doctor?speaker={data.speaker}"
    assert data.api.get(address).status_code == 404
    assert data.api.post("/api/voice/doctor", json={"speaker": data.speaker}).status_code == 422
    data.add("doc1")
    wrong = data.add("doc2", text="these words are wrong")
    job = data.job("/api/voice/doctor", {"speaker": data.speaker})
    assert job["state"] == "done"
    report = data.api.get(address).json()
    assert [finding["clips"] for finding in report["findings"]] == [[wrong]]
    assert (report["outdated"], report["suggestions"]) == (False, ["en-us-3"])
    assert report["verdict"] == "1 problem to solve before training."
    reported = next(event for event in data.events if event.type == "doctor.reported")
    assert (reported.problems, reported.job_id) == (1, job["id"])
    data.api.patch(f"/api/voice/clips/{wrong}", json={"status": "rejected"})
    assert data.api.get(address).json()["outdated"]
    data.api.post("/api/voice/clips/undo")
    assert not data.api.get(address).json()["outdated"]


def test_prompts_say_what_was_read_and_what_is_missing(data: Data) -> None:
    data.add("prompt1", prompt_id="en-us-2")
    data.job("/api/voice/doctor", {"speaker": data.speaker})
    answer = data.api.get("/api/voice/prompts", params={"speaker": data.speaker}).json()
    assert {"en-us", "de", "ja"} <= set(answer["languages"])
    assert [one["id"] for one in answer["prompts"] if one["recorded"]] == ["en-us-2"]
    assert [one["id"] for one in answer["prompts"] if one["suggested"]] == ["en-us-3"]
    german = data.api.get("/api/voice/prompts", params={"language": "de"}).json()
    assert {one["language"] for one in german["prompts"]} == {"de"}
    assert data.api.get("/api/voice/prompts", params={"language": "xx"}).json()["prompts"] == []


# --- guided recording ---


def spoken(text: str, path: Path, *, before_s: float = 0.4, after_s: float = 0.4) -> Path:
    """The embedded voice reads a sentence into a file, in a quiet room."""
    said = espeak.synthesize(text)
    pause = [bytes(2 * round(seconds * said.rate_hz)) for seconds in (before_s, after_s)]
    path.write_bytes(to_wav(pause[0] + said.pcm + pause[1], said.rate_hz))
    return path


class Booth:
    """A speaker in front of a microphone that a file plays, five times as fast as a person.

    After the sentence there is silence enough for a slow computer: five seconds of its time.
    """

    def __init__(self, data: Data, tmp_path: Path) -> None:
        self.data = data
        self.api = data.api
        self.prompt = data.api.get("/api/voice/prompts").json()["prompts"][0]
        self.file = spoken(self.prompt["text"], tmp_path / "microphone.wav", after_s=40.0)
        pcm, rate_hz = read_wav(self.file.read_bytes())
        self.seconds = len(pcm) / 2 / rate_hz - 39.5
        self.recorder = data.served.app.state.backend.voice_data.recorder
        self.recorder._microphones = FileMicrophones(self.file, 5.0)

    def start(self, **changes: Any) -> httpx.Response:
        body = {"speaker": self.data.speaker, "prompt_id": self.prompt["id"], **changes}
        return self.api.post("/api/voice/record/start", json=body)

    def listen(self, seconds: float) -> list[Any]:
        """Wait until so much sound came; the events meanwhile."""
        backend = self.data.served.app.state.backend

        async def heard() -> list[Any]:
            async with Watch(backend.bus) as seen:
                async with asyncio.timeout(10):
                    while self.recorder._samples < seconds * self.recorder._microphone.rate_hz:
                        seen._changed.clear()
                        await seen._changed.wait()
                return seen.events

        return in_loop(self.data.served, heard())  # type: ignore[no-any-return]


@pytest.fixture
def booth(data: Data, tmp_path: Path) -> Iterator[Booth]:
    data.api.post(f"/api/voice/speakers/{data.speaker}/consent", json={"statement": CONSENT})
    found = Booth(data, tmp_path)
    yield found
    data.api.post("/api/voice/record/discard")


def test_a_sentence_is_recorded_looked_at_and_kept(booth: Booth) -> None:
    assert booth.start().json()["state"] == "recording"
    events = booth.listen(booth.seconds)
    levels = [event for event in events if event.type == "recording.level"]
    assert levels
    assert max(event.peak_dbfs for event in levels) > -12
    review = booth.api.post("/api/voice/record/stop").json()
    assert review["state"] == "review"
    assert review["check"]["ok"], review["check"]
    take = booth.api.get(review["take_url"])
    assert len(read_wav(take.content)[0]) > 2 * 22_050
    kept = booth.api.post("/api/voice/record/keep").json()
    assert booth.api.get("/api/voice/record").json()["state"] == "idle"
    assert booth.api.get(review["take_url"]).status_code == 404
    backend = booth.data.served.app.state.backend
    stored = backend.voice_data.uploads.known(kept["upload_id"])
    assert (stored.text, stored.is_prompt) == (booth.prompt["text"], True)

    async def cut() -> None:
        run = backend.training.running(kept["job_id"])
        if run is not None:
            await run.task

    in_loop(booth.data.served, cut())
    clips = booth.data.page()["clips"]
    assert {clip["transcript"] for clip in clips} == {booth.prompt["text"]}
    assert {clip["text_from"] for clip in clips} == {"prompt"}
    prompts = booth.api.get("/api/voice/prompts", params={"speaker": booth.data.speaker}).json()
    assert prompts["prompts"][0]["recorded"]


def test_nobody_is_recorded_without_consent(data: Data) -> None:
    answer = data.api.post(
        "/api/voice/record/start", json={"speaker": data.speaker, "prompt_id": "en-us-1"}
    )
    assert answer.status_code == 409
    assert "agreed" in answer.json()["message"]


def test_one_recording_runs_at_a_time_and_a_sentence_can_be_done_again(booth: Booth) -> None:
    booth.start()
    assert booth.start().status_code == 409
    assert booth.api.post("/api/voice/record/noise", json={}).status_code == 409
    assert booth.api.post("/api/voice/record/keep").status_code == 409
    booth.listen(1.0)
    first = booth.api.post("/api/voice/record/stop").json()["take_url"]
    assert booth.start().json()["state"] == "recording"
    assert booth.api.get(first).status_code == 404
    assert booth.api.post("/api/voice/record/discard").json()["state"] == "idle"
    assert booth.api.post("/api/voice/record/stop").status_code == 409
    assert booth.api.post("/api/voice/record/discard").status_code == 409


def test_a_take_that_is_no_good_says_why(booth: Booth) -> None:
    booth.file.write_bytes(to_wav(bytes(2 * RATE_HZ), RATE_HZ))
    booth.start()
    booth.listen(1.0)
    check = booth.api.post("/api/voice/record/stop").json()["check"]
    assert not check["ok"]
    assert "Nothing came from the microphone" in check["notes"][0]


def test_a_microphone_that_is_not_there_is_said_in_words(booth: Booth) -> None:
    answer = booth.start(device="Studio One")
    assert answer.status_code == 503
    assert "Studio One" in answer.json()["message"]
    assert "microphone.wav" in answer.json()["message"]
    assert booth.api.get("/api/voice/record").json()["state"] == "idle"


def test_a_microphone_that_is_pulled_out_ends_the_recording_in_words(booth: Booth) -> None:
    booth.start()
    booth.listen(0.2)

    async def pull() -> None:
        booth.recorder._break_off("The microphone 'USB' stopped: it was pulled out.")

    in_loop(booth.data.served, pull())
    now = booth.api.get("/api/voice/record").json()
    assert (now["state"], now["problem"][:20]) == ("idle", "The microphone 'USB'")
    refused = booth.api.post("/api/voice/record/stop")
    assert refused.status_code == 409
    assert "pulled out" in refused.json()["message"]
    assert booth.start().status_code == 200


def test_a_recording_that_is_forgotten_ends_by_itself(
    booth: Booth, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("backend.training.recording.LONGEST_S", 0.5)
    backend = booth.data.served.app.state.backend

    async def ended() -> str:
        async with Watch(backend.bus) as seen:
            await asyncio.to_thread(booth.start)
            await seen.until("recording.changed", 2)
        return str(booth.recorder.now.state)

    assert in_loop(booth.data.served, ended()) == "review"


def test_the_room_is_listened_to(booth: Booth) -> None:
    noise = array("h", ((n * 7919) % 41 - 20 for n in range(3 * RATE_HZ)))
    booth.file.write_bytes(to_wav(noise.tobytes(), RATE_HZ))
    told = booth.api.post("/api/voice/record/noise", json={}).json()
    assert told["ok"]
    assert told["noise_dbfs"] == pytest.approx(-69, abs=3)
    booth.file.write_bytes(to_wav(array("h", (100 * v for v in noise)).tobytes(), RATE_HZ))
    loud = booth.api.post("/api/voice/record/noise", json={}).json()
    assert not loud["ok"]
    assert "loud" in loud["advice"]


def test_microphones_are_listed_by_name(booth: Booth) -> None:
    found = booth.api.get("/api/voice/record/devices").json()
    assert found == [{"name": "microphone.wav", "is_default": True, "host_api": "file"}]


# --- all of it, with the real trainer ---


@pytest.mark.slow  # three starts of the real trainer with its libraries
@pytest.mark.timeout(300)
def test_recordings_are_cut_graded_and_examined_by_the_real_trainer(tmp_path: Path) -> None:
    texts = [
        "The lantern refused to go out tonight.",
        "Every fox knows a shortcut home through the garden.",
        "Seven purple umbrellas, and all of them were lost.",
    ]
    for served in serve(tmp_path):
        with served.client() as api:
            data = Data(served, api, tmp_path / "job", "Robot")
            files = [
                (f"{n}.wav", spoken(text, tmp_path / "said.wav").read_bytes())
                for n, text in enumerate(texts)
            ]
            listed = "".join(f"{n}.wav|{text}\n" for n, text in enumerate(texts))
            answer = upload(
                api,
                *files,
                ("metadata.csv", listed.encode()),
                ("cut.wav", files[0][1][:44]),
                speaker=data.speaker,
            )
            job = data.job("/api/voice/process", {"upload_ids": answer["upload_ids"]}, 120)
            assert job["state"] == "done", job["message"]
            # Files are cut side by side.
            clips = sorted(data.page()["clips"], key=lambda clip: str(clip["source"]))
            assert [clip["transcript"] for clip in clips] == texts
            assert {clip["text_from"] for clip in clips} == {"import"}
            assert {clip["status"] for clip in clips} == {"accepted"}
            assert max(clip["measures"]["match"] for clip in clips) < 0.44
            assert [file["problem"] for file in job["result"]["files"] if file["problem"]]
            wrong = "Nobody would ever have thought of saying this instead of that."
            api.patch(f"/api/voice/clips/{clips[0]['id']}", json={"transcript": wrong})
            in_loop(served, served.app.state.backend.voice_data.checks.idle(), 120)
            changed = api.get(f"/api/voice/clips/{clips[0]['id']}").json()
            assert changed["measures"]["match"] > 0.44
            assert "words differ" in changed["reasons"]
            assert data.job("/api/voice/doctor", {"speaker": data.speaker}, 120)["state"] == "done"
            report = api.get("/api/voice/doctor", params={"speaker": data.speaker}).json()
            found = {one["code"]: one["clips"] for one in report["findings"]}
            assert found["wrong_transcript"] == [clips[0]["id"]], found
            assert report["suggestions"]
