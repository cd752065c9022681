"""How the trainer's program names what went wrong, and that one job has one trainer."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from voice_trainer.__main__ import BusyError, in_words, locked
from voice_trainer.checkpoint import CheckpointError
from voice_trainer.loop import TrainerError
from voice_trainer.protocol import ProtocolError


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (TrainerError("data.too_little", "Record more."), "data.too_little", "Record more."),
        (ProtocolError("clips.json cannot be read"), "job.broken", "clips.json"),
        (OSError(errno.ENOSPC, "No space left on device"), "disk.full", "Make room, then resume"),
        (MemoryError(), "memory.full", "Close other programs"),
        (ImportError("No module named 'pyworld'"), "package.missing", "pip install -r"),
        (CheckpointError("a.safetensors is damaged."), "trainer.failed", "a.safetensors"),
        (ZeroDivisionError(), "trainer.failed", "ZeroDivisionError"),
    ],
)
def test_every_error_has_a_code_and_says_what_to_do(
    error: Exception, code: str, words: str
) -> None:
    found, message = in_words(error)

    assert found == code
    assert words in message
    assert "Traceback" not in message


def test_a_job_is_locked_while_a_trainer_has_it_and_free_afterwards(tmp_path: Path) -> None:
    with locked(tmp_path):
        with pytest.raises(BusyError, match="is being worked on"), locked(tmp_path):
            pass
    with locked(tmp_path):
        pass
