"""Children of `voice_trainer.clips.pool` whose decoder misbehaves on files with a telling name; for its tests."""

from __future__ import annotations

import errno
import os
import signal
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

from voice_trainer.clips import pool
from voice_trainer.clips.cut import Order, cut_file


def serve(pipe: Connection) -> None:
    """As the real one, but "crash", "spin", "exit", "bug", "eat" and "full" in a file's name happen."""
    pool.cut_file = _cut_file
    pool.serve(pipe)


def _cut_file(
    order: Order, sha256: str, tell: Callable[[Any], None], breathe: Callable[[float], None]
) -> Any:
    if "crash" in order.name:
        os.kill(os.getpid(), signal.SIGSEGV)
    if "exit" in order.name:
        os._exit(7)
    if "spin" in order.name:
        until = time.monotonic() + 60
        while time.monotonic() < until:
            pass
    if "bug" in order.name:
        raise RuntimeError("a bug of ours")
    if "eat" in order.name:
        return {"clips": len(bytearray(16 << 30))}
    if "full" in order.name:
        raise OSError(errno.ENOSPC, "No space left on device")
    return cut_file(order, sha256, tell, breathe)
