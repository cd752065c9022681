"""What would fail late is refused at once, in words."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.trainer_jobs import SHORT, speak_clips, write_quick_job
from tests.unit.voice_trainer.conftest import Reporting
from voice_trainer import preflight
from voice_trainer.loop import TrainerError
from voice_trainer.preflight import Ready, check
from voice_trainer.protocol import ProgressReader, read_clips, write_clips


@pytest.fixture
def job(tmp_path: Path) -> Path:
    speak_clips(tmp_path, SHORT)
    return tmp_path


def checked(folder: Path, reporting: Reporting, **changes: Any) -> Ready:
    spec = replace(write_quick_job(folder), **changes)
    return check(
        folder, spec, reporting(folder), rates_hz=(16_000, 22_050), checkpoint_bytes=60 << 20
    )


def warnings(folder: Path) -> list[str]:
    return [line["message"] for line in ProgressReader(folder).read() if line["kind"] == "warning"]


def test_a_job_that_can_work_passes_and_little_material_is_a_warning(
    job: Path, reporting: Reporting
) -> None:
    ready = checked(job, reporting)

    assert len(ready.clips) == len(SHORT)
    assert any("s of clips. The voice will be recognised" in one for one in warnings(job))


@pytest.mark.parametrize(
    ("base", "words"),
    [("", "From scratch the network has to learn speaking"), ("/a/base.ckpt", "30 minutes")],
)
def test_a_full_training_says_in_its_own_words_that_there_is_little(
    job: Path, reporting: Reporting, base: str, words: str
) -> None:
    checked(job, reporting, trainer="vits", base=base)

    [said] = [one for one in warnings(job) if "There are only" in one]
    assert words in said
    assert "will be recognised" not in said


@pytest.mark.parametrize(
    ("changes", "code", "words"),
    [
        ({"rate_hz": 48_000}, "job.rate", "16,000 or 22,050"),
        ({"language": "klingon"}, "text.language", "en-us"),
        ({"name": "../evil"}, "job.broken", "letters, digits"),
        ({"name": ""}, "job.broken", "letters, digits"),
    ],
)
def test_a_wish_that_cannot_be_met_says_what_can(
    job: Path, reporting: Reporting, changes: dict[str, Any], code: str, words: str
) -> None:
    with pytest.raises(TrainerError, match=words) as error:
        checked(job, reporting, **changes)

    assert error.value.code == code


def test_a_disk_without_room_is_refused_with_both_figures(
    job: Path, reporting: Reporting, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Usage:
        free = 100 << 20

    monkeypatch.setattr(preflight.shutil, "disk_usage", lambda _: Usage)

    with pytest.raises(TrainerError, match=r"0\.1 GB free and the training needs 0\.8 GB") as error:
        checked(job, reporting)

    assert error.value.code == "disk.full"


def test_a_computer_without_memory_is_refused(
    job: Path, reporting: Reporting, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Memory:
        available = 300 << 20

    monkeypatch.setattr(psutil, "virtual_memory", lambda: Memory)

    with pytest.raises(TrainerError, match=r"0\.3 GB of memory") as error:
        checked(job, reporting)

    assert error.value.code == "memory.full"


def test_a_missing_library_is_named(
    job: Path, reporting: Reporting, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preflight.importlib.util, "find_spec", lambda name: name != "numba" or None)

    with pytest.raises(TrainerError, match="needs numba: pip install"):
        checked(job, reporting)


def test_changed_clips_are_left_out_and_named(job: Path, reporting: Reporting) -> None:
    clips = read_clips(job)
    write_clips(job, [replace(clips[0], sha256="1" * 64), *clips[1:]])

    ready = checked(job, reporting)

    assert [*ready.left_out] == ["clip-000"]
    assert any("clip-000: its file has changed" in one for one in warnings(job))


def test_kanji_are_named_before_they_are_read_wrongly(job: Path, reporting: Reporting) -> None:
    clips = read_clips(job)
    write_clips(job, [replace(clip, text="今日は、いい天気です。") for clip in clips])

    checked(job, reporting, language="ja")

    assert any("kanji" in one for one in warnings(job))
