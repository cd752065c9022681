"""The full trainer from clips to a voice: budget, pause, stop, resume to the bit, full memory, numbers that run away."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from backend.audio.levels import to_pcm16
from backend.audio.wav import read_wav, to_wav
from tests.unit.voice_trainer.vits.speech import SENTENCES, spoken
from voice_trainer import checkpoint as checkpoints
from voice_trainer import preflight
from voice_trainer.evaluate import Scores
from voice_trainer.export import Verdict
from voice_trainer.loop import Reporter, Steering, Stopped, TrainerError
from voice_trainer.protocol import (
    Budget,
    ClipSpec,
    Control,
    JobSpec,
    ProgressReader,
    read_clips,
    write_clips,
    write_control,
    write_job,
)
from voice_trainer.vits import dataset, train
from voice_trainer.vits import step as stepping
from voice_trainer.vits.batches import Clip
from voice_trainer.vits.network import QUALITIES, build

pytestmark = pytest.mark.slow  # it trains


def job(
    folder: Path, *, clips: int = 5, steps: int = 4, name: str = "hoshi", **options: Any
) -> JobSpec:
    """A job folder with clips of the embedded engine, for the tiny quality."""
    base, sha256 = options.pop("base", ""), options.pop("base_sha256", "")
    folder.mkdir(parents=True, exist_ok=True)
    listed = []
    for number, text in enumerate(SENTENCES[:clips]):
        path = folder.parent / f"clip-{number}.wav"
        if not path.exists():
            path.write_bytes(to_wav(to_pcm16(spoken(text)), 16_000))
        listed.append(ClipSpec(f"clip-{number}", str(path), text, 2.5))
    write_clips(folder, listed)
    spec = JobSpec(
        id=folder.name, command="train", name=name, trainer="vits", rate_hz=16_000, threads=1,
        device="cpu", budget=Budget(steps=steps), base=base, base_sha256=sha256,
        test_sentence="Hello.",
        options={"quality": "tiny", "batch_size": 2, "checkpoint_every": 100} | options,
    )  # fmt: skip
    write_job(folder, spec)
    return spec


_open_reporters: list[Reporter] = []


@pytest.fixture(autouse=True)
def _closed() -> Iterator[None]:
    yield
    while _open_reporters:
        _open_reporters.pop().close()


def reporting(folder: Path) -> Reporter:
    _open_reporters.append(Reporter(folder))
    return _open_reporters[-1]


def training(folder: Path, steering: Steering | None = None) -> train.Training:
    reporter = reporting(folder)
    steering = steering or Steering(folder)
    return train.Training(train._open(folder, reporter, steering), reporter, steering)


def lines(folder: Path, kind: str = "") -> list[dict[str, Any]]:
    return [one for one in ProgressReader(folder).read() if kind in ("", one["kind"])]


class StopsAfter(Steering):
    """Orders a stop before step n + 1."""

    def __init__(self, folder: Path, steps: int) -> None:
        super().__init__(folder)
        self.steps = steps
        self.looks = 0

    def obey(self, reporter: Reporter, **how: Any) -> None:
        self.looks += reporter.current == "train"
        if self.looks > self.steps:
            raise Stopped("signal")


@pytest.mark.slow  # exports, and speaks in a fresh process
def test_a_training_tells_everything_and_refuses_a_voice_that_is_no_good(tmp_path: Path) -> None:
    folder = tmp_path / "job"
    job(folder, steps=3)
    reporter = reporting(folder)
    with pytest.raises(TrainerError, match="not good enough to be used") as error:
        train.train(folder, reporter)  # three steps make noise, and a fresh process hears that
    assert error.value.code == "verify.failed"
    assert not reporter.is_done
    states = [one["state"] for one in lines(folder, "state")]
    assert states == ["preflight", "preflight", "prepare", "train", "export", "verify"]
    (checkpoint,) = lines(folder, "checkpoint")
    assert checkpoint["is_best"]
    assert checkpoint["loss"]["validation"] > 0
    (sample,) = lines(folder, "sample")
    pcm, rate_hz = read_wav((folder / sample["path"]).read_bytes())
    assert (rate_hz, len(pcm) > 1000) == (16_000, True)
    (picture,) = lines(folder, "picture")
    for name in ("target", "made"):
        assert (folder / picture[name]).read_bytes()[:4] == b"\x89PNG"
    (scores,) = lines(folder, "scores")
    assert scores["mcd_db"] > 0
    progress = [one for one in lines(folder, "progress") if one.get("step")][-1]
    assert (progress["step"], progress["steps"], progress["fraction"]) == (3, 3, 1.0)
    manifest = json.loads((folder / "dataset" / "manifest.json").read_text("utf-8"))
    assert (manifest["trainer"], manifest["clips"], len(manifest["held_back"])) == ("vits", 5, 1)


@pytest.mark.slow
def test_a_resumed_training_equals_one_that_was_never_interrupted(tmp_path: Path) -> None:
    for name in ("whole", "broken"):
        job(
            tmp_path / name, steps=4
        )  # two batches an epoch: the stop is in the middle of the second one
    training(tmp_path / "whole").run()
    with pytest.raises(Stopped):
        training(tmp_path / "broken", StopsAfter(tmp_path / "broken", 3)).run()
    torch.manual_seed(99)  # another process would have other noise
    training(tmp_path / "broken").run()
    whole, broken = (
        checkpoints.read(tmp_path / name / "checkpoints" / "step-0000004.safetensors")
        for name in ("whole", "broken")
    )
    assert whole.tensors.keys() == broken.tensors.keys()
    for name, tensor in whole.tensors.items():
        assert torch.equal(tensor, broken.tensors[name]), name
    for name in ("epoch", "place", "losses", "optimizer_g", "rng"):
        assert whole.state[name] == broken.state[name]
    assert [step for step, _ in broken.state["history"]] == [3, 4]


@pytest.mark.parametrize(
    ("count", "learn", "check"), [(1, 1, 1), (2, 1, 1), (3, 2, 1), (40, 38, 2)]
)
def test_there_are_always_clips_to_learn_from_and_to_check_with(
    count: int, learn: int, check: int, tmp_path: Path
) -> None:
    clips = [Clip(f"c{n}", f"text {n}", (1, 0, 14, 0, 2), 0, 4000) for n in range(count)]
    data = dataset._split(clips, [], 1234, tmp_path)
    assert (len(data.learn), len(data.check)) == (learn, check)
    assert {clip.uid for clip in (*data.learn, *data.check)} == {clip.uid for clip in clips}


def test_clips_that_cannot_be_learnt_from_are_left_out_with_words(tmp_path: Path) -> None:
    folder = tmp_path / "job"
    job(folder, clips=4)
    long = tmp_path / "long.wav"
    long.write_bytes(to_wav(to_pcm16(np.tile(spoken(SENTENCES[0]), 15)), 16_000))
    broken = tmp_path / "broken.wav"
    broken.write_bytes(b"RIFF, but no sound")
    clips = read_clips(folder)
    write_clips(
        folder,
        [
            *clips,
            ClipSpec("long", str(long), "A long one.", 16),
            ClipSpec("broken", str(broken), "Hello.", 1),
            ClipSpec("mute", clips[0].path, "...", 1),
            ClipSpec("hasty", clips[0].path, " ".join(SENTENCES), 1),
            ClipSpec("figures", clips[0].path, "777777777777", 1),  # few signs, many sounds
        ],
    )
    data = training(folder)._job.data
    assert {clip.uid for clip in (*data.learn, *data.check)} == {clip.uid for clip in clips}
    said = " ".join(one["message"] for one in lines(folder, "warning"))
    assert "s, more than 15; split it in the Voice tab" in said
    assert "broken.wav is no sound file" in said
    assert "nothing that is spoken" in said
    assert "nobody speaks so fast" in said
    assert "more than anybody speaks" in said


def test_without_any_clip_that_fits_the_job_says_why(tmp_path: Path) -> None:
    folder = tmp_path / "job"
    job(folder)
    write_clips(folder, [ClipSpec(**{**asdict(clip), "text": "?"}) for clip in read_clips(folder)])
    with pytest.raises(TrainerError, match="None of the 5 clips can be trained on") as error:
        training(folder)
    assert error.value.code == "data.none"


@pytest.mark.slow
def test_a_full_memory_halves_the_batch_and_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "job"
    job(folder, steps=3, batch_size=4, checkpoint_every=1)
    update = stepping.update
    refused = []

    def with_little_memory(network: Any, optimizers: Any, batch: Any, precision: Any) -> Any:
        if batch.size > 2 and len(refused) < 3 and lines(folder, "checkpoint"):
            refused.append(batch.size)
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB")
        return update(network, optimizers, batch, precision)

    monkeypatch.setattr(stepping, "update", with_little_memory)
    training(folder).run()
    assert refused == [4]
    assert "going on with 2" in lines(folder, "warning")[-1]["message"]
    last = checkpoints.Checkpoints(folder).last()
    assert last is not None
    assert (last.step, last.state["config"]["batch_size"]) == (3, 2)


def test_too_little_memory_for_one_clip_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "job"
    job(folder, batch_size=1)

    def never(*_: Any) -> Any:
        raise RuntimeError(
            "[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory"
        )

    monkeypatch.setattr(stepping, "update", never)
    with pytest.raises(TrainerError, match="too small even for one clip"):
        training(folder).run()


@pytest.mark.slow  # a whole run, 2 s
def test_losses_that_run_away_lower_the_learning_rate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "job"
    job(folder, steps=3, checkpoint_every=1)
    update = stepping.update
    calls = []

    def once_broken(network: Any, *others: Any) -> Any:
        calls.append(1)
        if len(calls) == 2:
            with torch.no_grad():
                network.generator.enc_p.emb.weight[:] = float("nan")
        return update(network, *others)

    monkeypatch.setattr(stepping, "update", once_broken)
    training(folder).run()
    assert "half the learning rate" in lines(folder, "warning")[-1]["message"]
    last = checkpoints.Checkpoints(folder).last()
    assert last is not None
    assert (last.step, last.state["config"]["rate_scale"]) == (3, 0.5)
    for kept in checkpoints.Checkpoints(folder).all():
        checkpoints.read(kept.path)  # refuses what is no number


@pytest.mark.slow  # a whole run, 2 s
def test_a_pause_saves_and_a_stop_ends_it_as_ordered(tmp_path: Path) -> None:
    folder = tmp_path / "job"
    job(folder, steps=50)

    class Pauses(Steering):
        """Is paused after the second step; while it waits, the order becomes stop."""

        steps = 0

        def obey(self, reporter: Reporter, **how: Any) -> None:
            self.steps += reporter.current == "train"
            if self.steps == 3:
                write_control(folder, Control("pause"))
            super().obey(reporter, **how)

    def waits(_: float) -> None:
        write_control(folder, Control("stop"))

    with pytest.raises(Stopped) as stopped:
        training(folder, Pauses(folder, wait=waits)).run()
    assert stopped.value.by == "order"
    assert [one["state"] for one in lines(folder, "state")][-2:] == ["train", "paused"]
    assert [one["step"] for one in lines(folder, "checkpoint")] == [2]


@pytest.mark.slow  # a whole run, 2 s
def test_a_sample_and_a_checkpoint_come_when_asked_for(tmp_path: Path) -> None:
    folder = tmp_path / "job"
    job(folder, steps=2)
    steering = Steering(folder)
    write_control(folder, Control(sample=1, checkpoint=1))
    training(folder, steering).run()
    assert [one["step"] for one in lines(folder, "checkpoint")] == [1, 2]
    assert [(one["step"], one["checkpoint"]) for one in lines(folder, "sample")] == [
        (1, "step-0000001"), (1, ""), (2, "step-0000002"),
    ]  # fmt: skip


def test_a_base_gives_its_weights_to_a_new_training(tmp_path: Path) -> None:
    folder = tmp_path / "job"
    torch.manual_seed(5)
    base = build(QUALITIES["tiny"]).state()
    path = tmp_path / "public.ckpt"
    torch.save({"state_dict": base, "hyper_parameters": {"sample_rate": 16_000}}, path)
    job(folder, base=str(path), steps=1)
    made = training(folder)
    made._begin()
    for name, weight in made.network.state().items():
        assert torch.equal(weight, base[name]), name


def test_a_base_of_another_file_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "job"
    path = tmp_path / "public.ckpt"
    torch.save({"state_dict": build(QUALITIES["tiny"]).state()}, path)
    job(folder, base=str(path), base_sha256="ab" * 32)
    with pytest.raises(TrainerError, match="is not the file that was chosen"):
        training(folder)


def test_a_base_of_another_size_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "job"
    path = tmp_path / "public.ckpt"
    weights = {
        name: one for name, one in build(QUALITIES["tiny"]).state().items() if ".dec." in name
    }
    torch.save({"state_dict": weights}, path)
    job(folder, base=str(path))
    with pytest.raises(TrainerError, match="of another kind"):
        training(folder).run()


def test_a_full_disk_is_told_before_anything_is_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "job"
    job(folder, quality="low")

    class Usage:
        free = 10**9

    monkeypatch.setattr(preflight.shutil, "disk_usage", lambda _: Usage())
    with pytest.raises(TrainerError, match=r"1\.0 GB free and the training needs 7\.\d GB"):
        training(folder)


@pytest.mark.slow  # exports
def test_an_export_of_a_chosen_checkpoint_goes_into_a_folder_of_its_own(tmp_path: Path) -> None:
    from piper import PiperVoice

    folder = tmp_path / "job"
    job(folder, steps=2, checkpoint_every=1)
    training(folder).run()
    other = tmp_path / "export"
    options = {"job": str(folder), "checkpoint": "step-0000001", "verify": False}
    write_job(other, JobSpec("export", "export", name="a/../b", trainer="vits", options=options))
    reporter = reporting(other)
    train.export(other, reporter)
    result = lines(other)[-1]["result"]
    assert (result["checkpoint"], result["model"]) == ("step-0000001", "export/a----b.onnx")
    (chunk,) = PiperVoice.load(other / result["model"]).synthesize("Hello.")
    assert chunk.audio_float_array.std() > 0
    assert json.loads((other / f"{result['model']}.json").read_text("utf-8"))["num_symbols"] == 256


@pytest.mark.slow  # a whole run, 2 s
def test_a_checkpoint_is_scored_and_heard_on_its_own(tmp_path: Path) -> None:
    folder = tmp_path / "job"
    job(folder, steps=1)
    training(folder).run()
    other = tmp_path / "evaluate"
    write_job(other, JobSpec("e", "evaluate", trainer="vits", options={"job": str(folder)}))
    train.evaluate(other, reporting(other))
    result = lines(other)[-1]["result"]
    assert result["scores"]["mcd_db"] > 0
    assert (other / result["sample"]).exists()


@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["32", "bf16", "16"])
def test_a_training_runs_and_resumes_on_a_gpu(tmp_path: Path, precision: str) -> None:
    folder = tmp_path / "job"
    spec = job(folder, steps=4, precision=precision)
    write_job(folder, replace(spec, device="cuda"))
    with pytest.raises(Stopped):
        training(folder, StopsAfter(folder, 2)).run()
    training(folder).run()
    last = checkpoints.Checkpoints(folder).last()
    assert last is not None
    assert (last.step, last.state["config"]["precision"]) == (4, precision)


@pytest.mark.slow  # a whole run, and an export
def test_a_voice_that_passes_is_told_last_with_its_scores(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "job"
    job(folder, steps=1)
    asked: dict[str, Any] = {}

    def passes(folder: Path, model: Path, **wanted: Any) -> Verdict:
        asked.update(wanted, model=model)
        return Verdict((), Scores(3.1, 0.95, 0.2, 1.0), 0.6, 2, 0.02, True)

    monkeypatch.setattr(train, "verify", passes)  # one step makes no voice that would pass
    reporter = reporting(folder)
    train.train(folder, reporter)
    assert reporter.is_done
    result = lines(folder)[-1]["result"]
    assert result["model"] == "export/hoshi.onnx"
    assert (folder / result["model"]) == asked["model"]
    assert (result["checkpoint"], result["step"]) == ("step-0000001", 1)
    assert result["scores"]["mcd_db"] == 3.1
    assert asked["say"] == ["Hello."]
    (reference,) = asked["references"]
    manifest = json.loads((folder / "dataset" / "manifest.json").read_text("utf-8"))
    assert Path(reference.path).stem == manifest["held_back"][0]
