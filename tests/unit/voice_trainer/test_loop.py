"""What the trainer tells is true and not too much; what it is asked it does between two steps."""

from __future__ import annotations

import io
import json
import threading
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.unit.voice_trainer.conftest import Reporting
from voice_trainer.loop import Steering, Stopped, Threads, in_words
from voice_trainer.protocol import PROGRESS, Control, ProgressReader, State, write_control


class Clock:
    """Stands still until it is moved."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def lines(folder: Path) -> list[dict[str, Any]]:
    return [*ProgressReader(folder).read()]


def test_progress_is_written_four_times_a_second_at_most_and_its_last_state_is_not_lost(
    tmp_path: Path, reporting: Reporting
) -> None:
    clock = Clock()
    reporter = reporting(tmp_path, clock=clock)
    reporter.state(State.TRAIN)

    for step in range(1, 1001):
        clock.now_s += 0.001
        reporter.progress(step=step, fraction=step / 1000)
    reporter.close()

    steps = [line["step"] for line in lines(tmp_path) if line["kind"] == "progress"]
    assert steps[0] == 1
    assert steps[-1] == 1000
    assert len(steps) == 5


def test_the_latest_figures_come_before_a_checkpoint(tmp_path: Path, reporting: Reporting) -> None:
    reporter = reporting(tmp_path, clock=Clock())
    reporter.progress(step=1)
    reporter.progress(step=2)

    reporter.checkpoint("step-2", step=2, path="x", loss={}, is_best=True, size_bytes=1)

    assert [line.get("step") for line in lines(tmp_path)] == [1, 2, 2]


def test_done_is_the_very_last_line_and_an_error_says_that_the_job_failed(
    tmp_path: Path, reporting: Reporting
) -> None:
    good, bad = reporting(tmp_path / "good"), reporting(tmp_path / "bad")

    good.done({"model": "export/a.onnx"})
    bad.error("data.too_little", "Record more.")

    assert [line["kind"] for line in lines(tmp_path / "good")] == ["state", "done"]
    states = [line.get("state") for line in lines(tmp_path / "bad")]
    assert states == ["failed", None]
    assert good.is_done
    assert not bad.is_done


def test_numbers_that_json_lacks_are_told_as_null(tmp_path: Path, reporting: Reporting) -> None:
    reporting(tmp_path).scores("a", mcd_db=float("nan"), similarity=0.5)

    (line,) = lines(tmp_path)
    assert line["mcd_db"] is None
    assert line["similarity"] == 0.5


def test_a_line_cut_by_a_kill_does_not_swallow_the_next(
    tmp_path: Path, reporting: Reporting
) -> None:
    (tmp_path / PROGRESS).write_bytes(b'{"kind": "warning", "mess')

    reporting(tmp_path).warning("low")

    assert [line["message"] for line in lines(tmp_path)] == ["low"]


def test_a_terminal_reads_words(tmp_path: Path, reporting: Reporting) -> None:
    screen = io.StringIO()
    reporter = reporting(tmp_path, echo=screen)

    reporter.state(State.TRAIN, "12 clips")
    reporter.progress(step=400, steps=1000, loss={"train": 0.5, "validation": 0.6}, eta_s=180.0)
    reporter.error("x", "Make room.")

    shown = screen.getvalue()
    assert "train: 12 clips" in shown
    assert "400/1,000, loss 0.500 (held back 0.600), 3 min left" in shown
    assert "error: Make room." in shown
    assert "{" not in shown


def test_progress_of_a_preparation_is_a_percentage() -> None:
    said = in_words({"state": "prepare", "fraction": 0.25, "message": "clip 3 of 12"})

    assert said == "prepare 25%, clip 3 of 12"


def steering(folder: Path, **more: Any) -> Steering:
    return Steering(folder, ending=threading.Event(), **more)


def test_nothing_is_asked_without_a_control_file(tmp_path: Path, reporting: Reporting) -> None:
    wheel = steering(tmp_path)

    wheel.obey(reporting(tmp_path))

    assert wheel.threads == 0
    assert not wheel.wants_sample()
    assert not wheel.wants_checkpoint()


def test_stop_ends_the_work(tmp_path: Path, reporting: Reporting) -> None:
    wheel = steering(tmp_path)
    write_control(tmp_path, Control(order="stop"))

    with pytest.raises(Stopped) as stopped:
        wheel.obey(reporting(tmp_path))

    assert stopped.value.by == "order"


def test_a_pause_saves_once_waits_and_goes_on(tmp_path: Path, reporting: Reporting) -> None:
    write_control(tmp_path, Control(order="pause"))
    waits, saves = [], []

    def wait(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 3:
            write_control(tmp_path, Control(order="run", threads=1))

    wheel = steering(tmp_path, wait=wait)
    reporter = reporting(tmp_path)
    reporter.state(State.TRAIN)

    wheel.obey(reporter, before_pause=lambda: saves.append(1))

    assert saves == [1]
    assert [line["state"] for line in lines(tmp_path)] == ["train", "paused", "train"]
    assert wheel.threads == 1


def test_a_paused_trainer_can_be_stopped_and_ended_by_a_signal(
    tmp_path: Path, reporting: Reporting
) -> None:
    write_control(tmp_path, Control(order="pause"))
    ending = threading.Event()
    by_order = steering(
        tmp_path / "a", wait=lambda _: write_control(tmp_path / "a", Control(order="stop"))
    )
    write_control(tmp_path / "a", Control(order="pause"))
    by_signal = Steering(tmp_path, ending=ending, wait=lambda _: ending.set())

    with pytest.raises(Stopped) as ordered:
        by_order.obey(reporting(tmp_path / "a"))
    with pytest.raises(Stopped) as signalled:
        by_signal.obey(reporting(tmp_path))

    assert (ordered.value.by, signalled.value.by) == ("order", "signal")


def test_every_sample_asked_for_is_given_once_and_old_wishes_are_not_repeated(
    tmp_path: Path,
) -> None:
    write_control(tmp_path, Control(sample=3, checkpoint=1))
    wheel = steering(tmp_path)
    before = wheel.look(), wheel.wants_sample(), wheel.wants_checkpoint()

    write_control(tmp_path, Control(sample=4, checkpoint=1))
    wheel.look()

    assert before[1:] == (False, False)
    assert [wheel.wants_sample(), wheel.wants_sample()] == [True, False]
    assert not wheel.wants_checkpoint()


@pytest.mark.parametrize("content", ["", "{", "[]", '{"order": 4, "sample": "x"}'])
def test_a_control_file_that_makes_no_sense_asks_for_nothing(
    tmp_path: Path, content: str, reporting: Reporting
) -> None:
    (tmp_path / "control.json").write_text(content)

    steering(tmp_path).obey(reporting(tmp_path))


def test_a_full_disk_does_not_end_the_work_by_its_progress(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reporting: Reporting
) -> None:
    reporter = reporting(tmp_path)

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("voice_trainer.protocol.ProgressWriter.write", full)
        reporter.progress(step=1)
        with pytest.raises(OSError, match="No space"):
            reporter.state(State.TRAIN)


def test_lines_are_json_objects_with_kind_and_time(tmp_path: Path, reporting: Reporting) -> None:
    reporter = reporting(tmp_path)
    reporter.state(State.PREFLIGHT)
    reporter.sample(step=1, path="samples/a.wav", text="Grüße", duration_s=1.0)
    reporter.picture(step=1, target="a.png", made="b.png")
    reporter.dropped("x")
    reporter.line("finding", code="clipping")

    raw = (tmp_path / PROGRESS).read_text(encoding="utf-8").splitlines()
    assert all({"kind", "at"} <= json.loads(line).keys() for line in raw)
    assert len(raw) == 5


@pytest.mark.parametrize(
    ("others", "own", "expected"),
    [(0.0, 4.0, 4), (0.2, 4.0, 4), (1.0, 4.0, 3), (2.5, 1.5, 1), (4.0, 0.0, 1), (9.0, 0.5, 1)],
)
def test_only_cores_that_nobody_else_uses_count(
    monkeypatch: pytest.MonkeyPatch, others: float, own: float, expected: int
) -> None:
    monkeypatch.setattr(psutil, "cpu_count", lambda logical=True: 4)
    now_s, spent = [100.0], [(50.0, 20.0)]
    free = Threads(0, clock=lambda: now_s[0], used=lambda: spent[0])
    assert free.now() == 4

    now_s[0] += 10.0
    spent[0] = (50.0 + 10 * (others + own), 20.0 + 10 * own)

    assert free.now() == expected
    assert free.now(limit=1) == 1


def test_a_job_that_names_its_threads_keeps_them() -> None:
    now_s = [0.0]
    free = Threads(3, clock=lambda: now_s[0], used=lambda: (now_s[0] * 64, 0.0))

    now_s[0] += 60.0

    assert free.now() == 3
    assert free.now(limit=2) == 2
