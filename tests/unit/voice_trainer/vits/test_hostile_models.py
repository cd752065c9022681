"""Model files from strangers: nothing in them runs, nothing outside is touched, nothing ends a process."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch

from tests import hostile_models
from tests.folder_watch import FolderWatch
from tests.hostile_models import Hostile, write_all
from voice_trainer import checkpoint
from voice_trainer.loop import TrainerError
from voice_trainer.vits.base import Base, read_base

pytestmark = [
    pytest.mark.slow,  # each file in a process of its own
    pytest.mark.skipif(sys.platform != "linux", reason="the folder is watched by inotify"),
]

ROOT = Path(__file__).resolve().parents[4]

TRY_VOICES = """
import json, sys
from backend.contracts.errors import AppError
from backend.engines.tts import piper_host
for path in sys.argv[1:]:
    said = piper_host.inspect(path).get("problem", "")
    if not said:
        try:
            piper_host.synthesize(path, b"hello", use_gpu=False)
        except AppError as error:
            said = error.message
    print(json.dumps([path, said]), flush=True)
"""


TRY_RECOGNISER = """
import json, sys
from backend.contracts.errors import AppError
from backend.engines.stt import whisper_host
for path in sys.argv[1:]:
    try:
        whisper_host.warm(path, device="cpu")
        said = ""
    except AppError as error:
        said = error.message
    print(json.dumps([path, said]), flush=True)
"""


@pytest.fixture
def files(tmp_path: Path) -> list[Hostile]:
    return write_all(tmp_path / "files", tmp_path / "outside")


@pytest.fixture
def watch(files: list[Hostile], tmp_path: Path) -> Iterator[FolderWatch]:
    with FolderWatch(tmp_path / "outside") as watch:
        yield watch


def test_the_watch_sees_a_read_of_another_process(watch: FolderWatch, tmp_path: Path) -> None:
    assert watch.touched() == set()
    subprocess.run(["cat", tmp_path / "outside" / "secret"], check=True, capture_output=True)
    assert watch.touched() == {"secret"}


@pytest.mark.slow
def test_checkpoints_are_refused_in_words_and_nothing_in_them_runs(
    files: list[Hostile], watch: FolderWatch, tmp_path: Path
) -> None:
    checkpoints = [one for one in files if one.kind == "checkpoint"]
    assert len(checkpoints) >= 40

    def tried(one: Hostile) -> Base | TrainerError:
        folder = tmp_path / "jobs" / one.name
        folder.mkdir(parents=True)
        try:
            return read_base(one.path, folder)
        except TrainerError as error:
            return error

    with ThreadPoolExecutor(2) as pool:
        answers = dict(zip(checkpoints, pool.map(tried, checkpoints), strict=True))
    gadgets = {name for name, _ in hostile_models.gadgets(tmp_path)}
    for one, answer in answers.items():
        if isinstance(answer, Base):
            assert one.may == "harmless", one.name
            assert all(torch.isfinite(weight).all() for weight in answer.weights.values())
        else:
            assert answer.code == "base.refused", (one.name, answer)
            if one.name.startswith("pickle-") and one.name[7:] in gadgets:
                assert "somebody wants code to run" in str(answer), one.name
            assert "Traceback" not in str(answer)
    assert watch.touched() == set()
    assert {path.name for path in (tmp_path / "outside").iterdir()} == {"secret", "evil.py"}
    left = [path for path in (tmp_path / "jobs").rglob("*") if path.is_file()]
    assert {path.name for path in left} <= {"base.safetensors"}


def test_a_confirmed_file_gives_its_weights_and_is_not_run_either(tmp_path: Path) -> None:
    settings = hostile_models.called(
        hostile_models.named("lightning.pytorch.utilities.parsing", "AttributeDict")
    )
    program = hostile_models.pickled(state_dict=hostile_models.state(), hparams=settings)
    path = tmp_path / "old.ckpt"
    path.write_bytes(hostile_models.archive(program))
    with pytest.raises(TrainerError, match="confirm this file") as refused:
        read_base(path, tmp_path)
    assert refused.value.code == "base.confirm"
    with pytest.raises(TrainerError, match="confirm this file"):
        read_base(path, tmp_path, confirmed="0" * 64)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert list(read_base(path, tmp_path, confirmed=digest).weights) == ["model_g.enc_p.emb.weight"]


def test_what_no_training_leaves_behind_cannot_be_confirmed(
    files: list[Hostile], tmp_path: Path
) -> None:
    (one,) = (one for one in files if one.name == "pickle-os-system")
    digest = hashlib.sha256(one.path.read_bytes()).hexdigest()
    with pytest.raises(TrainerError, match=r"calls for os\.system"):
        read_base(one.path, tmp_path, confirmed=digest)


def test_none_of_them_passes_for_a_checkpoint_of_luma(
    files: list[Hostile], watch: FolderWatch, tmp_path: Path
) -> None:
    job = tmp_path / "job"
    (job / "checkpoints").mkdir(parents=True)
    checkpoints = [one for one in files if one.kind == "checkpoint"]
    for number, one in enumerate(checkpoints, start=1):
        path = job / "checkpoints" / f"step-{number:07d}.safetensors"
        path.write_bytes(one.path.read_bytes())
        with pytest.raises(checkpoint.CheckpointError, match="step-"):
            checkpoint.read(path)
    assert checkpoint.Checkpoints(job).all() == []
    assert watch.touched() == set()


@pytest.mark.slow  # imports whisper
def test_none_of_them_runs_or_loads_as_a_model_of_the_recogniser(
    files: list[Hostile], watch: FolderWatch
) -> None:
    paths = [str(one.path) for one in files if one.kind == "checkpoint"]
    answer = subprocess.run(
        [sys.executable, "-c", TRY_RECOGNISER, *paths],
        capture_output=True, text=True, cwd=ROOT, check=False, timeout=100,
    )  # fmt: skip
    assert answer.returncode == 0, answer.stderr[-3000:]
    said = dict(json.loads(line) for line in answer.stdout.splitlines())
    assert said.keys() == set(paths)
    assert all(said.values()), said
    assert watch.touched() == set()


@pytest.mark.slow
def test_voices_are_refused_in_words_and_reach_nothing_outside(
    files: list[Hostile], watch: FolderWatch
) -> None:
    voices = [one for one in files if one.kind == "voice"]
    assert len(voices) >= 20
    answer = subprocess.run(
        [sys.executable, "-c", TRY_VOICES, *[str(one.path) for one in voices]],
        capture_output=True, text=True, cwd=ROOT, check=False, timeout=100,
    )  # fmt: skip
    assert answer.returncode == 0, answer.stderr
    said = dict(json.loads(line) for line in answer.stdout.splitlines())
    for one in voices:
        if one.may == "refused":
            assert said[str(one.path)], f"{one.name} was taken"
    assert watch.touched() == set()
