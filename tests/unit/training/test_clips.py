"""Clips: what is on disk and what the database says agree, whatever happened; every step can be taken back."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from backend.contracts.errors import ConflictError, InvalidInputError, NotFoundError
from backend.storage import training_data as rows
from backend.training import undo
from backend.training.clips import data_sha256
from tests.fakes import Watch
from tests.voice_data import studio, tone


async def test_a_hundred_steps_are_taken_back_after_a_restart(tmp_path: Path) -> None:
    async with studio(tmp_path) as at:
        clip = await at.clip("one")
        for n in range(105):
            await at.data.clips.change([clip], transcript=f"text {n}")
    async with studio(tmp_path) as at:
        for n in reversed(range(104)):
            what, clips = await at.data.clips.undo()
            assert what == f"new transcript of clip {clip}"
            assert clips[0].transcript == f"text {n}"
        await at.data.clips.undo()
        assert (await at.data.clips.get(clip)).transcript == "the words of one"
        with pytest.raises(ConflictError):
            await at.data.clips.undo()


async def test_an_edited_sound_comes_back_after_a_restart(tmp_path: Path) -> None:
    async with studio(tmp_path) as at:
        clip = await at.clip("one", duration_s=2.0)
        before = at.sounds
        await at.data.clips.trim(clip, 0.2, 1.2)
        halves = await at.data.clips.split(clip, 0.5, ["a", "b"])
        await at.data.clips.delete([halves[0].id])
    async with studio(tmp_path) as at:
        assert at.notices == []
        for _ in range(3):
            await at.data.clips.undo()
        assert at.sounds == before
        assert [row.uid for row in await at.data.clips.of_speaker("ann")] == ["one"]


async def test_who_holds_the_id_of_a_half_that_was_undone_changes_no_other_clip(
    tmp_path: Path,
) -> None:
    async with studio(tmp_path) as at:
        clip = await at.clip("one", duration_s=2.0)
        left, right = await at.data.clips.split(clip, 1.0, ["a", "b"])
        await at.data.clips.undo()
        other = await at.clip("other")
        assert other not in (left.id, right.id)
        with pytest.raises(NotFoundError):
            await at.data.clips.change([left.id], transcript="of the half")
        with pytest.raises(NotFoundError):
            await at.data.clips.delete([right.id])
        assert (await at.data.clips.get(other)).transcript == "the words of other"


async def test_an_undo_after_a_lost_database_writes_over_no_other_clip(tmp_path: Path) -> None:
    async with studio(tmp_path) as at:
        await at.clip("one")
        two = await at.clip("two")
        await at.data.clips.delete([await at.clip("three")])
        await at.data.clips.delete([two])
        await at.data.clips.undo()
        await at.data.clips._write_manifest()
    with closing(sqlite3.connect(tmp_path / "luma.db")) as database:
        database.execute("DELETE FROM training_data")
        database.execute("DELETE FROM sqlite_sequence")
        database.commit()
    async with studio(tmp_path) as at:
        await at.clip("another")
        await at.data.clips.undo()
        assert sorted(row.uid or "" for row in await at.data.clips.of_speaker("ann")) == [
            "another",
            "one",
            "three",
            "two",
        ]


async def test_the_oldest_steps_go_and_with_them_what_was_deleted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with studio(tmp_path) as at:
        at.data.clips._journal._keep = 3
        gone, stays = await at.clip("gone"), await at.clip("stays")
        await at.data.clips.delete([gone])
        for n in range(2):
            await at.data.clips.change([stays], emotion=f"mood {n}")
        assert "gone.wav" in at.sounds
        await at.data.clips.change([stays], emotion="mood 2")
        assert sorted(at.sounds) == ["stays.wav"]
        assert len(list((at.training / "undo").iterdir())) == 3


async def test_an_undo_leaves_alone_what_it_is_not_about(tmp_path: Path) -> None:
    async with studio(tmp_path) as at:
        clip = await at.clip("one")
        await at.data.clips.change([clip], emotion="joy")
        await at.data.clips.judge("one", "B", ("noise",), {"match": 0.3}, "the words of one")
        await at.data.clips.undo()
        found = await at.data.clips.get(clip)
        assert (found.emotion, found.grade, found.measures["match"]) == ("", "B", 0.3)


async def test_a_change_that_was_cut_short_is_taken_back_at_the_next_start(tmp_path: Path) -> None:
    async with studio(tmp_path) as at:
        clip = await at.clip("one", duration_s=2.0)
        row = await at.data.clips.row(clip)
        files = [at.training / "clips" / "one.wav"]
        sound = files[0].read_bytes()
        at.data.clips._journal.add(
            "trim of clip 1", [row], files=files, fields=("sha256", "updated_at")
        )
        part = tmp_path / "part"
        part.write_bytes(tone(0.5))
        part.replace(files[0])
    async with studio(tmp_path) as at:
        assert at.sounds == {"one.wav": sound}
        assert at.data.clips._journal.last is None


async def test_halves_of_a_split_that_was_cut_short_are_removed(tmp_path: Path) -> None:
    async with studio(tmp_path) as at:
        row = await at.data.clips.row(await at.clip("one"))
        at.data.clips._journal.add("split", [row], made=["left"], fields=("deleted_at",))
        (at.training / "clips" / "left.wav").write_bytes(tone(0.5))
    async with studio(tmp_path) as at:
        assert sorted(at.sounds) == ["one.wav"]
        assert at.notices == []


async def test_a_file_without_a_row_is_put_aside_and_claimed_by_its_job(tmp_path: Path) -> None:
    async with studio(tmp_path) as at:
        (at.training / "clips" / "stray.wav").write_bytes(tone(0.5))
    async with studio(tmp_path) as at:
        assert "stray.wav" in at.notices[0]
        assert (at.training / "aside" / "stray.wav").is_file()
        await at.clip("stray")
        assert sorted(at.sounds) == ["stray.wav"]


async def test_a_clip_on_its_way_in_when_it_was_killed_comes_again_without_a_word(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with studio(tmp_path) as at:
        with monkeypatch.context() as patch:
            patch.setattr(at.database, "write", killed)
            with pytest.raises(asyncio.CancelledError):
                await at.clip("half")
        assert sorted(at.sounds) == ["half.wav"], "there, and without a row"
        (source,) = tmp_path.rglob("**/jobs/**/half.wav")
        sound = source.read_bytes()
    async with studio(tmp_path) as at:
        assert at.notices == []
        assert sorted(at.sounds) == []
        assert not (at.training / "aside").exists()
        assert source.read_bytes() == sound
        await at.clip("half")
        assert sorted(at.sounds) == ["half.wav"]
        assert not list((at.training / "clips").glob(".*"))


async def test_a_file_that_lies_elsewhere_too_is_put_aside_as_any_other(tmp_path: Path) -> None:
    backup = tmp_path / "backup.wav"
    backup.write_bytes(tone(0.5))
    async with studio(tmp_path) as at:
        (at.training / "clips" / "stray.wav").hardlink_to(backup)
    async with studio(tmp_path) as at:
        assert "stray.wav" in at.notices[0]
        assert (at.training / "aside" / "stray.wav").is_file()


async def killed(*_: object, **__: object) -> None:
    raise asyncio.CancelledError


async def test_a_lost_database_is_made_again_from_the_manifest(tmp_path: Path) -> None:
    async with studio(tmp_path) as at:
        clip = await at.clip("one")
        await at.data.clips.change([clip], transcript="kept", emotion="joy")
        await at.data.clips._write_manifest()
    with closing(sqlite3.connect(tmp_path / "luma.db")) as database:
        database.execute("DELETE FROM training_data")
        database.commit()
    async with studio(tmp_path) as at:
        assert "1 clips that the database had lost" in at.notices[0]
        (row,) = await at.data.clips.of_speaker("ann")
        assert (row.transcript, row.emotion, row.uid) == ("kept", "joy", "one")


async def test_a_manifest_that_lies_about_a_file_brings_nothing_in(tmp_path: Path) -> None:
    async with studio(tmp_path) as at:
        await at.clip("one")
        await at.data.clips._write_manifest()
        await at.database.write(lambda c: rows.delete(c, [1]))
        (at.training / "clips" / "one.wav").write_bytes(b"something else")
        manifest = at.training / "clips" / "manifest.jsonl"
        line = json.loads(manifest.read_text())
        hostile = {**line, "uid": "../../escape", "file": "../../escape.wav"}
        manifest.write_text(f"{json.dumps(hostile)}\nno json\n[]\n{json.dumps(line)}\n")
        at.data.clips._want_manifest = lambda: None  # type: ignore[method-assign]  # as if killed here
    async with studio(tmp_path) as at:
        assert await at.data.clips.of_speaker("ann") == []
        assert (at.training / "aside" / "one.wav").read_bytes() == b"something else"


async def test_a_clip_whose_file_is_gone_is_rejected_until_it_is_back(tmp_path: Path) -> None:
    async with studio(tmp_path) as at:
        clip = await at.clip("one")
        await at.data.clips.change([clip], status="accepted")
        (at.training / "clips" / "one.wav").rename(tmp_path / "one.wav")
    async with studio(tmp_path) as at:
        assert "clip 1" in at.notices[0]
        found = await at.data.clips.get(clip)
        assert (found.status, found.reasons) == ("rejected", ("its file is missing",))
        with pytest.raises(NotFoundError, match="is not at"):
            await at.data.clips.sound(clip)
        (tmp_path / "one.wav").rename(at.training / "clips" / "one.wav")
    async with studio(tmp_path) as at:
        found = await at.data.clips.get(clip)
        assert (found.status, found.reasons, at.notices) == ("new", (), [])


async def test_old_rows_without_a_file_of_ours_are_shown_and_do_not_train(tmp_path: Path) -> None:
    async with studio(tmp_path) as at:
        old = rows.ClipRow(
            "old/1.wav", 1.5, (await at.data.clips.row(await at.clip("x"))).created_at
        )
        row = await at.database.write(
            lambda c: rows.put(c, replace(old, speaker="ann", transcript="hi"))
        )
        assert row.id is not None
        assert (await at.data.clips.get(row.id)).source == "old/1.wav"
        with pytest.raises(NotFoundError):
            await at.data.clips.sound(row.id)
        with pytest.raises(ConflictError):
            await at.data.clips.for_training("", [row.id])


async def test_a_clip_that_arrives_twice_is_one_clip(tmp_path: Path) -> None:
    async with studio(tmp_path) as at:
        await at.clip("one")
        with pytest.raises(AssertionError):
            await at.clip("one")
        assert len(await at.data.clips.of_speaker("ann")) == 1
        assert not list((tmp_path / "jobs" / "process-0").iterdir())


@pytest.mark.parametrize("uid", ["../out", "a/b", "", "x" * 65, ".hidden", "a\x00b"])
async def test_a_clip_with_a_name_that_is_none_is_refused(tmp_path: Path, uid: str) -> None:
    async with studio(tmp_path) as at:
        made = tmp_path / "made.wav"
        made.write_bytes(tone(0.5))
        with pytest.raises(InvalidInputError):
            await at.clip(uid, path=made)
        assert at.sounds == {}


async def test_changes_made_at_once_are_made_one_after_the_other(tmp_path: Path) -> None:
    async with studio(tmp_path) as at:
        clip = await at.clip("one", duration_s=3.0)
        await asyncio.gather(
            *(at.data.clips.trim(clip, 0.1, 3.0 - 0.2 * n) for n in range(3)),
            *(at.data.clips.change([clip], emotion=str(n)) for n in range(3)),
        )
        for _ in range(6):
            await at.data.clips.undo()
        found = await at.data.clips.get(clip)
        assert (found.duration_s, found.emotion, found.edited) == (3.0, "", False)


async def test_a_change_is_told_to_those_who_show_clips(tmp_path: Path) -> None:
    async with studio(tmp_path) as at, Watch(at.bus) as seen:
        await at.data.speakers.add("Bea", "de")
        ids = [await at.clip("one"), await at.clip("two")]
        await at.data.clips.change(ids, speaker="bea")
        await seen.settle()
        told = [(e.speaker, e.ids, e.what) for e in seen.of("clips.changed")]  # type: ignore[union-attr]
        assert told == [
            ("ann", tuple(ids), "new speaker of 2 clips"),
            ("bea", tuple(ids), "new speaker of 2 clips"),
        ]


async def test_a_removed_speaker_is_gone_from_the_steps_of_others_too(tmp_path: Path) -> None:
    async with studio(tmp_path) as at:
        await at.data.speakers.add("Bea", "de")
        hers, other = await at.clip("hers", speaker="bea", duration_s=2.0), await at.clip("other")
        await at.data.clips.trim(hers, 0.1, 1.5)
        await at.data.clips.change([hers, other], emotion="joy")
        await at.data.remove_speaker("bea")
        steps = "".join(path.read_text() for path in (at.training / "undo").rglob("step.json"))
        assert "hers" not in steps
        assert not [path for path in at.training.rglob("hers*")]
        await at.data.clips.undo()
        assert (await at.data.clips.get(other)).emotion == ""


async def test_a_removal_that_was_cut_short_is_finished_at_the_next_start(tmp_path: Path) -> None:
    async with studio(tmp_path) as at:
        await at.data.speakers.add("Bea", "de")
        await at.clip("hers", speaker="bea")
        await at.data.speakers.begin_removal("bea")
    async with studio(tmp_path) as at:
        assert "bea" in at.notices[0]
        assert at.data.speakers.find("bea") is None
        assert at.sounds == {}
        assert not list((at.training / "speakers").glob("bea*"))


async def test_a_speaker_whose_clips_are_in_use_stays(tmp_path: Path) -> None:
    async with studio(tmp_path) as at:
        upload = await at.upload(tone(1.0))
        run = at.jobs.running(await at.data.processing.start([upload], await at.data.label("ann")))
        assert run is not None
        with pytest.raises(ConflictError, match="Stop it first"):
            await at.data.remove_speaker("ann")
        assert run.task is not None
        await run.task
        await at.data.remove_speaker("ann")
        assert list((tmp_path / "jobs").iterdir()) == []


async def test_a_dataset_is_named_by_its_sounds_and_texts(tmp_path: Path) -> None:
    async with studio(tmp_path) as at:
        ids = [await at.clip("one"), await at.clip("three")]
        await at.data.clips.change(ids, status="accepted")
        clips = await at.data.clips.for_training("ann")
        assert data_sha256(clips) == data_sha256(reversed(clips))
        await at.data.clips.change(ids[:1], transcript="other")
        assert data_sha256(await at.data.clips.for_training("ann")) != data_sha256(clips)


def test_a_step_that_names_files_outside_is_not_followed(tmp_path: Path) -> None:
    folder = tmp_path / "undo" / "000001"
    folder.mkdir(parents=True)
    (folder / "step.json").write_text(
        json.dumps({"what": "x", "before": [], "made": [], "files": ["../../secret"]})
    )
    (tmp_path / "undo" / "000002.part").mkdir()
    journal = undo.Journal(tmp_path / "undo")
    journal.open()
    assert journal.last is None
    assert list((tmp_path / "undo").iterdir()) == []
