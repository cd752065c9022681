"""The quick trainer's loop: it learns, resumes to the bit, obeys, survives a lack of memory, and says how it goes."""

from __future__ import annotations

import threading
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from itertools import pairwise
from multiprocessing import get_context
from pathlib import Path

import pytest
import torch
from PIL import Image

from backend.audio.wav import read_wav
from tests.trainer_jobs import SHORT, speak_clips, write_quick_job
from tests.unit.voice_trainer.conftest import Reporting
from voice_trainer import clone
from voice_trainer.checkpoint import Checkpoints, read, write
from voice_trainer.clone import learn, learning_rate, order, starting_network, verdict
from voice_trainer.config import TrainConfig
from voice_trainer.dataset import Dataset, prepare, usable
from voice_trainer.loop import Steering, Stopped, TrainerError
from voice_trainer.protocol import (
    Budget,
    Control,
    JobSpec,
    ProgressReader,
    read_clips,
    write_clips,
    write_control,
)

pytestmark = [
    pytest.mark.slow,  # it trains
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]

CONFIG = TrainConfig(steps=8, seed=7, validate_every=2, checkpoint_every=4, sample_every=8)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Dataset]:
    """Clips, analysed once for all tests; by a process of its own as always, since the engine that they are aligned to
    breathes as it does because of all that it said before, in whichever test."""
    folder = tmp_path_factory.mktemp("clips")
    with ProcessPoolExecutor(1, get_context("spawn")) as process:
        return folder, process.submit(analysed, folder).result()


def analysed(folder: Path) -> Dataset:
    from voice_trainer.loop import Reporter

    speak_clips(folder, SHORT)
    spec = write_quick_job(folder)
    clips, digests, _ = usable(folder, read_clips(folder))
    write_clips(folder, clips)  # with absolute paths
    reporter = Reporter(folder)
    found = prepare(folder, spec, clips, digests, reporter, Steering(folder), config=CONFIG)
    reporter.close()
    return found


class Run:
    """A training of the shared clips in a folder of its own."""

    def __init__(self, folder: Path, shared: tuple[Path, Dataset], reporting: Reporting) -> None:
        self.folder = folder
        folder.mkdir(exist_ok=True)
        write_clips(folder, read_clips(shared[0]))
        self.dataset = shared[1]
        self.reporter = reporting(folder)
        self.steering = Steering(folder, ending=threading.Event(), wait=lambda _: None)

    def train(self, config: TrainConfig = CONFIG, **changes: object) -> clone.Progress:
        spec: JobSpec = write_quick_job(self.folder, **changes)  # type: ignore[arg-type]
        network = starting_network(spec, config)
        return learn(self.folder, spec, config, network, self.dataset, self.reporter, self.steering)

    def lines(self, kind: str) -> list[dict]:
        return [line for line in ProgressReader(self.folder).read() if line["kind"] == kind]

    def last(self) -> dict[str, torch.Tensor]:
        kept = Checkpoints(self.folder).last()
        assert kept is not None
        return read(kept.path).tensors


@pytest.fixture
def run(tmp_path: Path, shared: tuple[Path, Dataset], reporting: Reporting) -> Run:
    return Run(tmp_path / "job", shared, reporting)


@pytest.mark.slow
def test_it_learns_eight_clips_by_heart(run: Run) -> None:
    config = replace(
        CONFIG, steps=130, warmup_steps=5, average_decay=0.9, learning_rate=6e-3, sample_every=1000,
        checkpoint_every=1000,
    )  # fmt: skip
    by_heart = replace(run.dataset, train=run.dataset.train[:8], held_back=run.dataset.train[:2])
    run.dataset = by_heart

    progress = run.train(config, options={"channels": 48})

    untrained = run.lines("progress")[0]["loss"]["train"]
    assert progress.validation[-1][1] < 0.4 * untrained
    (scores, *_) = run.lines("scores")[-1:]
    assert abs(scores["pitch_semitones"]) < 2


def test_an_interrupted_training_ends_with_the_same_bits(
    tmp_path: Path, shared: tuple[Path, Dataset], reporting: Reporting, monkeypatch
) -> None:
    whole = Run(tmp_path / "whole", shared, reporting)
    whole.train()
    cut = Run(tmp_path / "cut", shared, reporting)
    steps = clone._step
    made = 0

    def dying(*arguments: object) -> dict[str, float]:
        nonlocal made
        made += 1
        if made in (3, 9):  # after a checkpoint, and before the first one
            raise KeyboardInterrupt
        return steps(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(clone, "_step", dying)
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            cut.train()
        torch.manual_seed(123)  # whatever the next process begins with
    cut.train()

    wanted, given = whole.last(), cut.last()
    assert wanted.keys() == given.keys()
    assert all(torch.equal(wanted[name], given[name]) for name in wanted)
    losses = [[line["loss"] for line in one.lines("checkpoint")][-1] for one in (whole, cut)]
    assert losses[0] == losses[1]


def test_watching_and_samples_do_not_change_what_is_learned(
    tmp_path: Path, shared: tuple[Path, Dataset], reporting: Reporting
) -> None:
    quiet, watched = (Run(tmp_path / name, shared, reporting) for name in ("quiet", "watched"))

    quiet.train(replace(CONFIG, sample_every=100, checkpoint_every=100, validate_every=100))
    watched.train(replace(CONFIG, sample_every=2, checkpoint_every=2, validate_every=1))

    one, other = quiet.last(), watched.last()
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_stop_saves_and_a_resume_goes_on_there(run: Run, monkeypatch) -> None:
    steps = clone._step

    def stopping(*arguments: object) -> dict[str, float]:
        write_control(run.folder, Control(order="stop"))
        return steps(*arguments)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(clone, "_step", stopping)
        with pytest.raises(Stopped):
            run.train()
    saved = [one.step for one in Checkpoints(run.folder).all()]
    write_control(run.folder, Control())
    run.train()

    assert saved == [1]
    assert Checkpoints(run.folder).all()[-1].step == 8
    assert [line["step"] for line in run.lines("checkpoint")] == [1, 4, 8]


def test_a_sample_and_a_checkpoint_come_when_asked(run: Run, monkeypatch) -> None:
    steps = clone._step

    def asking(*arguments: object) -> dict[str, float]:
        write_control(run.folder, Control(sample=1, checkpoint=1, threads=1))
        return steps(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(clone, "_step", asking)
    run.train(replace(CONFIG, steps=3))

    assert [line["step"] for line in run.lines("checkpoint")] == [2, 3]
    sample = run.lines("sample")[0]
    assert sample["step"] == 2
    _, rate_hz = read_wav((run.folder / sample["path"]).read_bytes())
    assert rate_hz == 22_050


def test_pictures_show_target_and_made_in_grey(run: Run) -> None:
    run.train(replace(CONFIG, steps=2))

    (line,) = run.lines("picture")
    widths = []
    for name in ("target", "made"):
        with Image.open(run.folder / line[name]) as image:
            assert image.mode == "L"
            assert image.height == 128
            widths.append(image.width)
    assert widths[0] > 50
    assert widths[1] == pytest.approx(widths[0], abs=2)


@pytest.mark.slow
def test_a_batch_that_does_not_fit_into_memory_is_halved_and_learned_all_the_same(
    run: Run, monkeypatch
) -> None:
    real = clone.losses

    def small(network: object, batch: clone.Batch) -> clone.Losses:
        if len(batch.ids) > 3 and torch.is_grad_enabled():
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to …")
        return real(network, batch)  # type: ignore[arg-type]

    monkeypatch.setattr(clone, "losses", small)
    progress = run.train()

    assert progress.step == 8
    assert progress.pieces == 4
    warnings = [line["message"] for line in run.lines("warning")]
    assert "going on with 5" in warnings[0]
    assert "going on with 3" in warnings[1]


def test_a_single_clip_that_does_not_fit_ends_in_words(run: Run, monkeypatch) -> None:
    def none(network: object, batch: object) -> None:
        raise MemoryError

    monkeypatch.setattr(clone, "losses", none)
    with pytest.raises(TrainerError, match="single clip") as error:
        run.train()

    assert error.value.code == "memory.full"


def test_other_errors_of_a_step_are_not_taken_for_a_lack_of_memory(run: Run, monkeypatch) -> None:
    def broken(network: object, batch: object) -> None:
        raise RuntimeError("shapes do not match")

    monkeypatch.setattr(clone, "losses", broken)
    with pytest.raises(RuntimeError, match="shapes"):
        run.train()


def test_a_batch_in_pieces_gives_the_gradient_of_the_whole(run: Run) -> None:
    gradients = []
    for pieces in (1, 3):
        torch.manual_seed(0)
        spec = write_quick_job(run.folder)
        network = starting_network(spec, CONFIG).eval()  # no dropout
        for part in network.modules():
            part.training = False
        clips = [clone._tensors(one, torch.device("cpu")) for one in run.dataset.train]
        still = torch.optim.SGD(network.parameters(), lr=0.0)
        config = replace(CONFIG, gradient_norm=1e9)
        clone._step(network, still, clips, pieces, config, torch.device("cpu"))
        gradients.append(network.final.weight.grad)

    assert torch.allclose(gradients[0], gradients[1], rtol=1e-3, atol=1e-6)


@pytest.mark.slow
def test_a_broken_last_checkpoint_is_passed_over_with_a_warning(run: Run) -> None:
    run.train(replace(CONFIG, steps=4))
    path = Checkpoints(run.folder).folder / "step-0000004.safetensors"
    found = read(path)
    write(path, {**found.tensors, "model.final.weight": torch.zeros(3)}, found.state)

    run.train()

    assert any("passed over" in line["message"] for line in run.lines("warning"))
    assert Checkpoints(run.folder).all()[-1].step == 8


def test_a_checkpoint_serves_as_a_base_and_another_rate_is_refused(run: Run) -> None:
    run.train(replace(CONFIG, steps=2))
    base = Checkpoints(run.folder).all()[-1].path
    taught = read(base).part("average")
    spec = write_quick_job(run.folder, base=str(base))

    network = starting_network(spec, CONFIG)

    assert torch.equal(network.final.weight, taught["final.weight"])
    with pytest.raises(TrainerError, match="22,050 Hz"):
        starting_network(replace(spec, rate_hz=16_000), CONFIG)
    with pytest.raises(TrainerError, match="not the file it should be"):
        starting_network(replace(spec, base_sha256="0" * 64), CONFIG)
    with pytest.raises(TrainerError, match="no base at"):
        starting_network(replace(spec, base="/nowhere/base.safetensors"), CONFIG)


def test_a_base_that_is_no_checkpoint_is_refused(run: Run, tmp_path: Path) -> None:
    gadget = tmp_path / "base.safetensors"
    gadget.write_bytes(b"\x80\x04\x95cposix\nsystem\n")

    with pytest.raises(TrainerError, match=r"base\.safetensors") as error:
        starting_network(write_quick_job(run.folder, base=str(gadget)), CONFIG)

    assert error.value.code == "base.broken"


def test_every_clip_comes_once_an_epoch_and_epochs_differ() -> None:
    lengths = [100 + 7 * number for number in range(50)]

    first, second = (order(lengths, 12, seed=3, epoch=epoch) for epoch in (0, 1))

    assert sorted(index for batch in first for index in batch) == [*range(50)]
    assert first != second
    assert first == order(lengths, 12, seed=3, epoch=0)
    assert max(map(len, first)) == 12


def test_clips_of_like_length_share_a_batch() -> None:
    lengths = [100] * 12 + [1000] * 12

    batches = order(lengths, 12, seed=1, epoch=0)

    assert all(len({lengths[index] for index in batch}) == 1 for batch in batches)


def test_the_learning_rate_rises_then_falls_with_the_budget() -> None:
    config = TrainConfig(steps=1000, learning_rate=1e-3, warmup_steps=50)

    rates = [learning_rate(config, step, step / 1000) for step in range(1000)]

    assert rates[0] == pytest.approx(2e-5)
    assert max(rates) == pytest.approx(1e-3, rel=0.02)
    assert rates[-1] == pytest.approx(3e-5, rel=0.01)
    assert rates[50:] == sorted(rates[50:], reverse=True)


@pytest.mark.parametrize(
    ("curve", "said"),
    [
        (lambda step: 2.0, ""),
        (lambda step: 1.0 / (1 + step / 500), "still improving: \u2212"),
        (lambda step: max(1.0, 2.0 - step / 400), "flat for 600 steps: you can stop"),
        (lambda step: 1.0 + abs(step - 400) / 2000, "getting worse for"),
    ],
)  # fmt: skip
def test_the_verdict_says_whether_to_go_on(curve, said: str) -> None:
    points = [(step, curve(step)) for step in range(25, 1001, 25)]

    assert verdict(points if said else points[:3]).startswith(said)
    if not said:
        assert verdict(points[:3]) == ""


@pytest.mark.parametrize(
    ("budget", "count"), [({"steps": 400}, 8), ({"steps": 60}, 2), ({"seconds": 90.0}, 4)]
)
def test_samples_are_spread_over_the_budget(budget: dict[str, float], count: int) -> None:
    config = TrainConfig.of(JobSpec("a", "train", budget=Budget(**budget)), "float32")
    shares = [number / 1000 for number in range(1001)]

    due = [share for before, share in pairwise(shares) if config.is_sample_due(1, before, share)]

    assert len(due) == count
    assert due[-1] == 1.0


def test_a_budget_in_seconds_counts_only_steps(run: Run) -> None:
    progress = run.train(replace(CONFIG, steps=None, seconds=0.2))

    assert progress.seconds >= 0.2
    assert progress.step >= 1
    last = run.lines("progress")[-1]
    assert last["steps"] is None
    assert last["eta_s"] == 0.0
    assert last["fraction"] == 1.0


def test_a_busy_machine_does_not_end_a_training_before_it_began() -> None:
    config = replace(CONFIG, steps=None, seconds=40.0)
    assert clone.Progress(step=1, seconds=500.0).share(config) == pytest.approx(1 / 40)
    assert clone.Progress(step=40, seconds=500.0).share(config) == 1.0
    assert clone.Progress(step=400, seconds=20.0).share(config) == pytest.approx(0.5)
    long = replace(config, seconds=300.0)
    assert clone.Progress(step=30, seconds=900.0).share(long) == pytest.approx(0.5)


@pytest.mark.parametrize("budget", [{"steps": 0}, {"steps": -3}, {"seconds": 0.0}])
def test_a_budget_of_nothing_is_refused(budget: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="above 0"):
        TrainConfig.of(JobSpec("a", "train", budget=Budget(**budget)), "float32")
