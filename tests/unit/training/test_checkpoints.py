"""A training's past, as its folder tells it."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest

from backend.contracts.errors import NotFoundError
from backend.training.checkpoints import History
from voice_trainer.protocol import ProgressWriter


class Told:
    """Lines of a trainer."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        self.folder = folder

    def write(self, kind: str, **fields: object) -> None:
        with closing(ProgressWriter(self.folder)) as lines:
            lines.write(kind, **fields)


def saved(folder: Path, told: Told, name: str, step: int, *, best: bool = False) -> Path:
    path = folder / "checkpoints" / f"{name}.safetensors"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"weights")
    told.write(
        "checkpoint",
        id=name,
        step=step,
        path=f"checkpoints/{path.name}",
        loss={"train": 1.0, "validation": 2.0 / (step + 1)},
        is_best=best,
        size_bytes=7,
    )
    return path


def test_what_the_base_said_is_heard_beside_the_checkpoints(tmp_path: Path) -> None:
    told = Told(tmp_path)
    told.write("sample", checkpoint="", step=0, path="samples/0.wav", text="Hello", duration_s=1)
    saved(tmp_path, told, "b", 100, best=True)
    last, before = History(tmp_path).refresh().wire()
    assert (last.step, before.step, before.sample_text) == (100, 0, "Hello")
    assert before.sample_url == f"/api/voice/samples/{tmp_path.name}/0.wav"
    assert (before.is_best, before.is_last, before.size_bytes) == (False, False, 0)


def test_checkpoints_are_told_newest_first_with_their_scores_and_samples(tmp_path: Path) -> None:
    told = Told(tmp_path)
    saved(tmp_path, told, "a", 0)
    saved(tmp_path, told, "b", 100, best=True)
    told.write("scores", checkpoint="b", mcd_db=3.5, similarity=0.9, pitch_semitones=None)
    told.write("sample", checkpoint="b", step=100, path="samples/b.wav", text="Hello", duration_s=1)
    history = History(tmp_path).refresh()
    last, first = history.wire()
    assert (last.step, last.is_best, last.is_last) == (100, True, True)
    assert (last.scores.mcd_db, last.scores.similarity, last.scores.pitch_semitones) == (
        3.5,
        0.9,
        None,
    )
    assert last.scores.loss == pytest.approx(2 / 101)
    assert last.sample_url == f"/api/voice/samples/{tmp_path.name}/b.wav"
    assert (first.step, first.is_best, first.is_last, first.sample_url) == (0, False, False, "")


def test_how_much_was_understood_is_kept_with_the_sample(tmp_path: Path) -> None:
    told = Told(tmp_path)
    saved(tmp_path, told, "a", 5)
    told.write("sample", checkpoint="a", step=5, path="samples/a.wav", text="Hi", duration_s=1)
    history = History(tmp_path).refresh()
    history.hear(history.samples[0], 0.75)
    assert History(tmp_path).refresh().wire()[0].scores.clear_words == 0.75


def test_only_one_checkpoint_is_the_best_and_removed_ones_are_not_told(tmp_path: Path) -> None:
    told = Told(tmp_path)
    saved(tmp_path, told, "a", 1, best=True)
    saved(tmp_path, told, "b", 2, best=True)
    saved(tmp_path, told, "c", 3)
    told.write("dropped", id="c")
    gone = saved(tmp_path, told, "d", 4)
    history = History(tmp_path).refresh()
    assert [one.step for one in history.wire()] == [4, 2, 1]
    assert [one.step for one in history.wire() if one.is_best] == [2]
    gone.unlink()
    assert [one.step for one in history.refresh().wire()] == [2, 1]
    with pytest.raises(NotFoundError, match="no checkpoint 'd'"):
        history.known("d")


def test_a_history_reads_on_and_a_line_that_was_cut_short_hurts_nobody(tmp_path: Path) -> None:
    told = Told(tmp_path)
    told.write("progress", state="train", step=1, loss={"train": 3.0})
    history = History(tmp_path).refresh()
    with (tmp_path / "progress.jsonl").open("ab") as file:
        file.write(b'{"kind": "progress", "step": 2, "lo')
    assert [point.step for point in history.refresh().losses(10)] == [1]
    told.write("progress", state="train", step=3, loss={"train": 2.0, "validation": 2.5})
    told.write("checkpoint", id="x", step="many", path=7)
    told.write("scores", checkpoint="nobody")
    points = history.refresh().losses(10)
    assert [(point.step, point.train, point.validation) for point in points] == [
        (1, 3.0, None),
        (3, 2.0, 2.5),
    ]


def test_a_resumed_training_replaces_the_part_of_the_curve_that_was_lost(tmp_path: Path) -> None:
    told = Told(tmp_path)
    for step in (1, 2, 3, 4, 3, 4, 5):
        told.write("progress", state="train", step=step, loss={"train": float(step)})
    assert [point.step for point in History(tmp_path).refresh().losses(10)] == [1, 2, 3, 4, 5]


def test_a_long_curve_keeps_its_shape_its_end_and_its_limit(tmp_path: Path) -> None:
    lines = ProgressWriter(tmp_path)
    for step in range(1, 10_001):
        lines.write("progress", state="train", step=step, loss={"train": 10_000.0 - step})
    lines.close()
    points = History(tmp_path).refresh().losses(100)
    assert 40 <= len(points) <= 100
    assert points[-1].step == 10_000
    values = [point.train for point in points if point.train is not None]
    assert values == sorted(values, reverse=True)


@pytest.mark.parametrize(
    "path", ["/etc/passwd", "../../secret", "checkpoints/../../x", "checkpoints", "", "a\x00b"]
)
def test_a_path_outside_the_folder_is_not_believed(tmp_path: Path, path: str) -> None:
    folder = tmp_path / "job"
    told = Told(folder)
    (tmp_path / "x").write_bytes(b"")
    told.write("checkpoint", id="a", step=1, path=path, loss={}, is_best=True, size_bytes=1)
    told.write("sample", checkpoint="a", step=1, path=path, text="", duration_s=1)
    told.write("picture", step=1, target=path, made=path)
    history = History(folder).refresh()
    assert history.wire() == []
    assert history.samples == []
    assert history.target is None or history.target.is_relative_to(folder.resolve())


def test_a_link_that_leads_out_of_the_folder_is_not_followed(tmp_path: Path) -> None:
    folder = tmp_path / "job"
    told = Told(folder)
    (tmp_path / "secret.wav").write_bytes(b"")
    (folder / "samples").mkdir()
    (folder / "samples" / "a.wav").symlink_to(tmp_path / "secret.wav")
    told.write("sample", checkpoint="", step=1, path="samples/a.wav", text="", duration_s=1)
    assert History(folder).refresh().samples == []


def test_forgetting_a_checkpoint_removes_its_files(tmp_path: Path) -> None:
    told = Told(tmp_path)
    path = saved(tmp_path, told, "a", 1)
    history = History(tmp_path).refresh()
    history.forget("a")
    assert not path.exists()
    assert history.refresh().wire() == []
