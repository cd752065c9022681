"""Plain WAV is read at once; everything else goes to the decoder's process."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import cast

import pytest

from backend.audio.wav import to_wav
from backend.contracts.errors import InvalidInputError, TooLargeError
from backend.core.sound import decode_audio
from backend.core.workers import EngineHost

PCM = b"\x00\x10\x00\xf0" * 4_000
NOBODY = cast(EngineHost, None)
"""Whoever asks it for anything fails."""


@pytest.fixture
async def host() -> AsyncIterator[EngineHost]:
    host = EngineHost()
    yield host
    await host.stop()


async def test_plain_wav_needs_no_other_process() -> None:
    audio = await decode_audio(NOBODY, to_wav(PCM, 24_000))
    assert (audio.pcm, audio.rate_hz) == (PCM, 24_000)


async def test_a_wav_of_unknown_length_as_a_stream_sends_it_is_read_whole() -> None:
    data = to_wav(PCM, 24_000)
    endless = data[:4] + b"\xff" * 4 + data[8:40] + b"\xff" * 4 + data[44:]
    assert (await decode_audio(NOBODY, endless)).pcm == PCM


async def test_stereo_goes_to_the_decoder(host: EngineHost) -> None:
    audio = await decode_audio(host, to_wav(PCM, 24_000, channels=2))
    assert audio.duration_s == pytest.approx(len(PCM) / 4 / 24_000, abs=0.01)


async def test_another_rate_is_made_by_the_decoder(host: EngineHost) -> None:
    audio = await decode_audio(host, to_wav(PCM, 24_000), rate_hz=16_000)
    assert audio.rate_hz == 16_000


async def test_a_long_or_broken_wav_is_refused_in_the_decoders_words(host: EngineHost) -> None:
    with pytest.raises(TooLargeError):
        await decode_audio(host, to_wav(PCM, 8_000), max_s=0.5)
    with pytest.raises(InvalidInputError):
        await decode_audio(host, to_wav(b"", 24_000))
