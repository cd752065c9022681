"""Clips become what is learned from: bad ones are left out with a reason, the split never changes, work is not repeated."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from backend.audio.levels import level_dbfs
from backend.audio.wav import to_wav
from tests.trainer_jobs import SHORT, speak_clips, write_quick_job
from tests.unit.voice_trainer.conftest import Reporting
from voice_trainer.config import TrainConfig
from voice_trainer.dataset import (
    LEAD_S,
    SPEECH_DBFS,
    digest,
    file_sha256,
    held_back,
    prepare,
    read_manifest,
    read_sound,
    usable,
)
from voice_trainer.loop import Steering, Stopped, TrainerError
from voice_trainer.protocol import Control, ProgressReader, read_clips, write_clips, write_control

CONFIG = TrainConfig(steps=10)


def kinds(folder: Path) -> list[str]:
    return [line["kind"] for line in ProgressReader(folder).read()]


@pytest.fixture(scope="module")
def spoken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("job")
    speak_clips(folder, SHORT)
    write_quick_job(folder)
    return folder


def prepared(folder: Path, reporting: Reporting, **changes: object):
    spec = replace(write_quick_job(folder), **changes)
    clips, digests, _ = usable(folder, read_clips(folder))
    steering = Steering(folder, ending=threading.Event())
    return prepare(folder, spec, clips, digests, reporting(folder), steering, config=CONFIG)


def test_every_clip_gets_phonemes_frames_and_durations_that_fit(
    spoken: Path, reporting: Reporting
) -> None:
    found = prepared(spoken, reporting)

    assert len(found.train) + len(found.held_back) == len(SHORT)
    for clip in (*found.train, *found.held_back):
        assert clip.durations.sum() == len(clip.features)
        assert len(clip.ids) == len(clip.durations) == len(clip.symbols)
        assert clip.durations.min() >= 0
        assert clip.cost < 0.44
    assert read_manifest(spoken) == found.manifest
    assert found.manifest.minutes == pytest.approx(0.16, abs=0.06)


def test_a_second_preparation_computes_nothing_and_changed_text_is_seen(
    spoken: Path, reporting: Reporting
) -> None:
    first = prepared(spoken, reporting)
    cache = spoken / "dataset" / "features"
    before = {path.name: path.stat().st_mtime_ns for path in cache.iterdir()}

    again = prepared(spoken, reporting)
    unchanged = {path.name: path.stat().st_mtime_ns for path in cache.iterdir()}
    clips = read_clips(spoken)
    write_clips(spoken, [replace(clips[0], text="Good evening."), *clips[1:]])
    changed = prepared(spoken, reporting)
    write_clips(spoken, clips)

    assert unchanged == before
    assert again.manifest == first.manifest
    assert all(
        (one.durations == other.durations).all()
        for one, other in zip(first.train, again.train, strict=True)
    )
    assert len([*cache.iterdir()]) == len(before)  # the sound is the same
    assert changed.manifest.data_sha256 != first.manifest.data_sha256


def test_a_cached_file_that_a_power_cut_emptied_is_made_anew(
    spoken: Path, reporting: Reporting
) -> None:
    first = prepared(spoken, reporting)
    victim = next((spoken / "dataset" / "features").glob("*.safetensors"))
    victim.write_bytes(b"")

    assert prepared(spoken, reporting).manifest == first.manifest
    assert victim.stat().st_size > 1000


def test_an_alignment_that_a_power_cut_emptied_is_made_anew(
    spoken: Path, reporting: Reporting
) -> None:
    first = prepared(spoken, reporting)
    path = spoken / "dataset" / "alignment.safetensors"
    path.write_bytes(path.read_bytes()[:100])

    assert prepared(spoken, reporting).manifest == first.manifest
    assert path.stat().st_size > 1000


def test_a_text_that_is_not_said_is_left_out_with_a_warning(
    spoken: Path, reporting: Reporting
) -> None:
    clips = read_clips(spoken)
    odd = replace(clips[0], text="Completely different words were spoken by somebody.")
    write_clips(spoken, [odd, *clips[1:]])

    found = prepared(spoken, reporting)
    write_clips(spoken, clips)

    assert [*found.manifest.left_out] == ["clip-000"]
    assert found.manifest.clips == len(clips) - 1
    assert "warning" in kinds(spoken)


def test_a_preparation_stops_when_it_is_asked(spoken: Path, reporting: Reporting) -> None:
    write_control(spoken, Control(order="stop"))

    with pytest.raises(Stopped):
        prepared(spoken, reporting, rate_hz=16_000)

    (spoken / "control.json").unlink()


@pytest.mark.parametrize("rate_hz", [16_000, 22_050])
def test_a_clip_is_brought_to_one_level_with_little_silence_around(
    tmp_path: Path, rate_hz: int
) -> None:
    tone = 0.02 * np.sin(2 * np.pi * 220 * np.arange(44_100) / 44_100)
    silence = np.zeros(44_100)
    pcm = (np.concatenate([silence, tone, silence]) * 32767).astype("<i2").tobytes()
    (tmp_path / "a.wav").write_bytes(to_wav(pcm, 44_100))

    samples = read_sound(tmp_path / "a.wav", rate_hz)

    assert samples.size / rate_hz == pytest.approx(1.17, abs=0.04)
    middle = samples[int((LEAD_S + 0.1) * rate_hz) : int(0.9 * rate_hz)]
    assert level_dbfs(middle) == pytest.approx(SPEECH_DBFS, abs=0.5)


def test_clips_that_cannot_be_used_say_why(tmp_path: Path) -> None:
    clips = speak_clips(tmp_path, SHORT)
    bad = [
        replace(clips[0], text="  "),
        replace(clips[1], path="clips/gone.wav"),
        replace(clips[2], sha256="0" * 64),
        replace(clips[3], duration_s=45.0),
        replace(clips[4], duration_s=2.0, text="so much text " * 150),
    ]

    good, digests, problems = usable(
        tmp_path, [*bad, *(replace(clip, duration_s=2.0) for clip in clips[5:])]
    )

    assert [clip.uid for clip in good] == [clip.uid for clip in clips[5:]]
    assert digests[good[0].uid] == file_sha256(Path(good[0].path))
    assert "no text" in problems["clip-000"]
    assert "cannot be read" in problems["clip-001"]
    assert "has changed" in problems["clip-002"]
    assert "45.0 s long" in problems["clip-003"]
    assert "1,950 letters for 2.0 s" in problems["clip-004"]


def test_too_little_material_says_how_much_is_needed(tmp_path: Path) -> None:
    clips = speak_clips(tmp_path, SHORT[:3])

    with pytest.raises(TrainerError, match="at least 10 s in 4 clips") as error:
        usable(tmp_path, clips)

    assert error.value.code == "data.too_little"


def test_a_job_without_clips_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TrainerError, match="no clips"):
        usable(tmp_path, [])


@pytest.mark.parametrize("count", [2, 3, 4, 8, 40, 500])
def test_validation_has_clips_and_leaves_most_to_learn_from(count: int) -> None:
    clips = [(f"u{number}", f"text {number}") for number in range(count)]

    apart = held_back(clips, seed=1, share=0.05, most=12)

    assert 1 <= len(apart) <= max(1, min(12, count // 3))
    assert apart == held_back(clips[::-1], seed=1, share=0.05, most=12)


def test_clips_of_one_text_are_on_one_side() -> None:
    clips = [(f"u{number}", f"Text  {number // 5}".upper()) for number in range(60)]

    apart = held_back(clips, seed=3, share=0.1, most=12)

    texts = {text for uid, text in clips if uid in apart}
    assert texts.isdisjoint({text for uid, text in clips if uid not in apart})


def test_takes_of_a_single_text_are_split_all_the_same() -> None:
    assert len(held_back([(f"u{n}", "Same.") for n in range(6)], 1, 0.05, 12)) == 1


def test_a_digest_does_not_depend_on_the_order_but_on_every_text() -> None:
    clips = [("aa", "one"), ("bb", "two")]

    assert digest(clips) == digest(clips[::-1])
    assert digest(clips) != digest([("aa", "one"), ("bb", "too")])
