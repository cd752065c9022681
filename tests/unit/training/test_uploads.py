"""What a file is called and what it claims leads nowhere."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from backend.training import uploads
from backend.training.uploads import Label, recognised, safe_filename
from tests.voice_data import studio, tone


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("take.wav", "take.wav"),
        ("C:\\Users\\me\\take.wav", "take.wav"),
        ("../../take.wav", "take.wav"),
        ("wavs/LJ001-0001.wav", "LJ001-0001.wav"),
        ("a\r\nb.wav", "ab.wav"),
        ("\u202egpj.wav", "gpj.wav"),
        ("", "recording"),
        ("...", "recording"),
        ("/", "recording"),
        ("録音 一.wav", "録音 一.wav"),
        ("\ud800x.wav", "x.wav"),
    ],
)
def test_a_name_is_made_harmless(name: str, shown: str) -> None:
    assert safe_filename(name) == shown


@pytest.mark.parametrize("letter", ["x", "ü", "録", "😀"])
def test_a_long_name_keeps_its_ending(letter: str) -> None:
    shown = safe_filename(letter * 300 + ".flac")
    assert shown.endswith("….flac")
    assert 190 <= len(shown.encode()) <= 200


@pytest.mark.parametrize(
    ("head", "found"),
    [
        (b"RIFF\x00\x00\x00\x00WAVEfmt ", ("sound", ".wav")),
        (b"RF64\xff\xff\xff\xffWAVE", ("sound", ".wav")),
        (b"RIFF\x00\x00\x00\x00AVI LIST", None),
        (b"fLaC\x00\x00\x00\x22", ("sound", ".flac")),
        (b"OggS\x00\x02", ("sound", ".ogg")),
        (b"ID3\x04\x00", ("sound", ".mp3")),
        (b"\xff\xfb\x90\x64", ("sound", ".mp3")),
        (b"\xff\xf1\x50\x80", ("sound", ".aac")),
        (b"\xff\xff\xff\xff", None),
        (b"\x00\x00\x00\x20ftypM4A ", ("sound", ".m4a")),
        (b"\x1a\x45\xdf\xa3", ("sound", ".webm")),
        (b"FORM\x00\x00\x00\x00AIFF", ("sound", ".aiff")),
        (b"LJ001-0001|Printing, in the only sense|Printing\n", ("transcripts", ".txt")),
        ("1\n00:00:01,000 --> 00:00:02,000\nGrüße\n".encode(), ("transcripts", ".txt")),
        (b"\xff\xfea\x00|\x00b\x00", ("transcripts", ".txt")),
        ("a|ü".encode()[:-1], ("transcripts", ".txt")),
        (b"   \n", None),
        (b"\x7fELF\x02\x01\x01", None),
        (b"PK\x03\x04\x14\x00", None),
        (b"", None),
    ],
)
def test_a_file_is_what_its_first_bytes_are(head: bytes, found: tuple[str, str] | None) -> None:
    assert recognised(head) == found


async def test_what_was_cut_short_is_gone_at_the_next_start(tmp_path: Path) -> None:
    async with studio(tmp_path) as at:
        kept = await at.upload(tone(0.2))
        cut = at.data.uploads.receive("half.wav")
        cut.write(tone(0.2)[:100])
        cut._file.close()
        broken = at.training / "uploads" / "0123456789abcdef"
        broken.mkdir()
        (broken / "upload.json").write_text(json.dumps({"file": "../../luma.db"}))
    async with studio(tmp_path) as at:
        assert [one.id for one in at.data.uploads.listed()] == [kept]
        assert "0123456789abcdef" in at.notices[0]
        assert len(list((at.training / "uploads").iterdir())) == 2


@pytest.mark.parametrize("file", ["../../luma.db", "sound.wav/../../x", "", "sound", "/etc/passwd"])
async def test_what_an_upload_says_of_itself_is_not_believed(tmp_path: Path, file: str) -> None:
    async with studio(tmp_path) as at:
        upload = await at.upload(tone(0.2))
        about = at.training / "uploads" / upload / "upload.json"
        about.write_text(json.dumps({**json.loads(about.read_text()), "file": file}))
    async with studio(tmp_path) as at:
        assert at.data.uploads.listed() == []
        assert upload in at.notices[0]


async def test_sound_that_needs_ffmpeg_says_so_without_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uploads.shutil, "which", lambda name: None)
    async with studio(tmp_path) as at:
        incoming = at.data.uploads.receive("voice.wav")
        incoming.write(b"\x00\x00\x00\x20ftypM4A " + bytes(50))
        incoming.close()
        taken = await at.data.uploads.take(incoming, Label("ann"))
        assert "M4A, which needs the program ffmpeg" in taken.problem
        assert list((at.training / "uploads").iterdir()) == []


async def test_files_of_the_system_are_not_recordings(tmp_path: Path) -> None:
    async with studio(tmp_path) as at:
        incoming = at.data.uploads.receive("._take.wav")
        incoming.write(tone(0.1))
        incoming.close()
        assert (await at.data.uploads.take(incoming, Label("ann"))).problem


async def test_an_upload_goes_and_its_clips_stay(tmp_path: Path) -> None:
    async with studio(tmp_path) as at:
        upload = await at.upload(tone(2.0))
        run = at.jobs.running(
            await at.data.processing.start([upload], Label("ann"), transcribe=False)
        )
        assert run is not None
        assert run.task is not None
        await run.task
        await at.data.uploads.delete(upload)
        assert list((at.training / "uploads").iterdir()) == []
        assert len(await at.data.clips.of_speaker("ann")) == 2
        again = await at.upload(tone(2.0))
        assert again != upload
