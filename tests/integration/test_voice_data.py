"""Recordings come in, become clips, are looked through and changed, over HTTP as the window does it."""

from __future__ import annotations

import asyncio
import hashlib
import json
import math
import shutil
import struct
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from backend.audio.wav import to_wav
from backend.training.clips import Made
from tests.integration.conftest import Served, serve

RATE_HZ = 22_050
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


def in_loop(served: Served, work: Any) -> Any:
    """Run a coroutine in the backend's loop."""
    loop = served.app.state.backend._loop
    return asyncio.run_coroutine_threadsafe(work, loop).result(20)


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
    assert page["grades"] == {"A": 2}
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
