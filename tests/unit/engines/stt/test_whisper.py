"""Whisper: what it made up is dropped, and nothing is downloaded."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest

from backend.audio import espeak
from backend.contracts.entities import Audio
from backend.contracts.errors import EngineUnavailableError
from backend.core.made_up import kept
from backend.core.workers import EngineHost
from backend.engines.stt import RECOGNISERS, whisper_host
from backend.engines.stt.options import WhisperOptions
from backend.engines.stt.whisper_reading import joined
from tests import tiny_models

SURE: dict[str, Any] = {
    "text": " Open the door.",
    "avg_logprob": -0.2,
    "no_speech_prob": 0.02,
    "compression_ratio": 1.1,
}


@pytest.mark.parametrize(
    ("change", "speech_s", "is_kept"),
    [
        ({}, 2.0, True),
        ({"avg_logprob": -1.4}, 2.0, False),
        ({"compression_ratio": 3.0, "text": " la la la la"}, 2.0, False),
        ({"no_speech_prob": 0.9, "avg_logprob": -0.7}, 2.0, False),
        ({"no_speech_prob": 0.9, "avg_logprob": -0.2}, 2.0, True),
        ({"text": " Thanks for watching!", "no_speech_prob": 0.4, "avg_logprob": -0.4}, 5.0, False),
        ({"text": " Thanks for watching!", "no_speech_prob": 0.01}, 3.0, True),
        ({"text": "ご視聴ありがとうございました。", "avg_logprob": -0.5}, 0.6, False),
        ({"text": " Thank you.", "avg_logprob": -0.1}, 0.8, True),
        ({"text": " ... "}, 2.0, False),
    ],
)
def test_a_segment_is_kept_when_it_was_said(
    change: dict[str, Any], speech_s: float, is_kept: bool
) -> None:
    assert bool(kept([{**SURE, **change}], speech_s)) is is_kept


@pytest.mark.slow
def test_a_doubtful_reading_is_tried_again_without_encoding_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nonsense is read at all three temperatures; the encoder is most of the work."""
    from whisper.model import AudioEncoder

    encode, encoded = AudioEncoder.forward, []

    def counted(self: AudioEncoder, mel: Any) -> Any:
        encoded.append(mel)
        return encode(self, mel)

    monkeypatch.setattr(AudioEncoder, "forward", counted)
    said = espeak.synthesize("Open the door.", "en-us")
    path = tiny_models.whisper_model(tmp_path / "random.pt")
    told = whisper_host.transcribe(said.pcm, said.rate_hz, str(path), language="en", device="cpu")
    assert told["log_probability"] < -1.0
    assert len(encoded) == 1


def test_short_pauses_do_not_tear_speech_apart() -> None:
    assert joined([(0, 1), (2, 3), (9, 10)]) == [(0, 3), (9, 10)]


async def test_a_model_that_is_not_on_disk_is_named_and_never_fetched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_network(*_: object) -> None:
        raise AssertionError("a connection was opened")

    monkeypatch.setattr(socket.socket, "connect", no_network)
    (tmp_path / "small.pt").write_bytes(b"x")
    host = EngineHost()
    for model, words in (("base", "there are: small"), ("/nowhere/x.pt", "no Whisper model at")):
        engine = RECOGNISERS.create("whisper", WhisperOptions(host, tmp_path, model))
        engine.warm()
        with pytest.raises(EngineUnavailableError, match=words):
            await engine.transcribe(Audio(bytes(32000), 16000))
    assert host.health() == []  # no process was started for it
    await host.stop()
