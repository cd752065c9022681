"""Piper voices are somebody else's files: what is run, and what is refused before it is."""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from backend.contracts.entities import VoiceChoice
from backend.contracts.errors import EngineUnavailableError
from backend.core.workers import EngineHost
from backend.engines.tts import VOICES
from backend.engines.tts.base import TTS
from backend.engines.tts.options import PiperOptions
from tests import tiny_models

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def host() -> AsyncIterator[EngineHost]:
    host = EngineHost()
    yield host
    await host.stop()


def piper(host: EngineHost, folder: Path, **more: Any) -> TTS:
    return VOICES.create("piper", PiperOptions(host, folder, timeout_s=20, **more))


async def test_a_voice_speaks_and_tells_when_each_sound_comes(
    host: EngineHost, tmp_path: Path
) -> None:
    tiny_models.piper_voice(tmp_path, "mara")
    speech = await piper(host, tmp_path).synthesize("Hello.", VoiceChoice())
    assert (speech.voice, speech.audio.rate_hz) == ("mara", tiny_models.RATE_HZ)
    assert "".join(mark.phoneme for mark in speech.phonemes) == "həl\u02c8oʊ"
    assert speech.phonemes[0].start_s > 0  # after the beginning-of-sentence mark
    assert speech.phonemes[-1].end_s <= speech.audio.duration_s


async def test_length_scale_and_rate_change_the_length(host: EngineHost, tmp_path: Path) -> None:
    tiny_models.piper_voice(tmp_path)
    normal = await piper(host, tmp_path).synthesize("Hello.", VoiceChoice())
    slow = await piper(host, tmp_path, length_scale=2.0).synthesize("Hello.", VoiceChoice())
    fast = await piper(host, tmp_path).synthesize("Hello.", VoiceChoice(rate=2.0))
    assert slow.audio.duration_s == pytest.approx(2 * normal.audio.duration_s)
    assert fast.audio.duration_s == pytest.approx(0.5 * normal.audio.duration_s)


async def test_a_speaker_is_chosen_by_number_and_a_missing_one_refused(
    host: EngineHost, tmp_path: Path
) -> None:
    import numpy as np

    from backend.audio.levels import from_pcm16

    tiny_models.piper_voice(tmp_path, speakers=2)
    engine = piper(host, tmp_path)
    for speaker, expected_hz in ((0, 220), (1, 440)):
        speech = await engine.synthesize("Hello there.", VoiceChoice(speaker=speaker))
        samples = from_pcm16(speech.audio.pcm)
        peak = int(np.argmax(np.abs(np.fft.rfft(samples))))
        assert peak * speech.audio.rate_hz / samples.size == pytest.approx(expected_hz, abs=2)
    with pytest.raises(EngineUnavailableError, match="2 speakers, numbered from 0; there is no 2"):
        await engine.synthesize("Hello.", VoiceChoice(speaker=2))


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ({"external": True}, "keeps data in another file"),
        ({"domain": "com.evil"}, "operators of 'com.evil'"),
    ],
)
async def test_a_graph_that_reaches_outside_is_refused_and_listed_with_its_problem(
    host: EngineHost, tmp_path: Path, how: dict[str, Any], words: str
) -> None:
    tiny_models.piper_voice(tmp_path, **how)
    with pytest.raises(EngineUnavailableError, match=words):
        await piper(host, tmp_path).synthesize("Hello.", VoiceChoice())
    [info] = await piper(host, tmp_path).voices()
    assert words in str(info.problem)


async def test_external_data_hidden_in_a_branch_is_found(host: EngineHost, tmp_path: Path) -> None:
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    path = tiny_models.piper_voice(tmp_path)
    model = onnx.load(str(path))
    import numpy as np

    hidden = numpy_helper.from_array(np.array([1.0], np.float32), "hidden")
    hidden.data_location = TensorProto.EXTERNAL
    hidden.external_data.add(key="location", value="/etc/passwd")
    inside = helper.make_graph(
        [helper.make_node("Constant", [], ["inner"], value=hidden)],
        "inside",
        [],
        [helper.make_tensor_value_info("inner", TensorProto.FLOAT, [1])],
    )
    condition = numpy_helper.from_array(np.array(True), "yes")
    model.graph.initializer.append(condition)
    model.graph.node.append(
        helper.make_node("If", ["yes"], ["chosen"], then_branch=inside, else_branch=inside)
    )
    path.write_bytes(model.SerializeToString())
    with pytest.raises(EngineUnavailableError, match="another file"):
        await piper(host, tmp_path).synthesize("Hello.", VoiceChoice())


@pytest.mark.parametrize(
    ("content", "words"),
    [(b"", "Piper voice"), (b"not onnx at all" * 50, "ONNX"), (None, "ONNX|Piper voice")],
)
async def test_a_file_that_is_no_voice_is_refused(
    host: EngineHost, tmp_path: Path, content: bytes | None, words: str
) -> None:
    path = tiny_models.piper_voice(tmp_path)
    path.write_bytes(path.read_bytes()[:300] if content is None else content)
    with pytest.raises(EngineUnavailableError, match=words):
        await piper(host, tmp_path).synthesize("Hello.", VoiceChoice())


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"audio": {"sample_rate": 10**9}}, "sample_rate"),
        ({"audio": None}, "sample_rate"),
        ({"num_speakers": -1}, "num_speakers"),
        ({"num_symbols": "many"}, "num_symbols"),
        ({"phoneme_id_map": {"a": "b"}}, "phoneme_id_map"),
        ({"phoneme_type": "magic"}, "phoneme_type"),
        ({"phoneme_type": "pinyin"}, "download"),
        ({"inference": {"length_scale": 1e9}}, "scale"),
        ({"inference": {"noise_w": True, "length_scale": float("nan")}}, "scale"),
        ({"espeak": {"voice": "../../x"}}, "espeak.voice"),
        ({"hop_length": 0}, "hop_length"),
    ],
)
async def test_settings_out_of_range_are_refused(
    host: EngineHost, tmp_path: Path, change: dict[str, Any], words: str
) -> None:
    path = tiny_models.piper_voice(tmp_path)
    settings = {**tiny_models.piper_settings(), **change}
    Path(f"{path}.json").write_text(json.dumps(settings), "utf-8")
    with pytest.raises(EngineUnavailableError, match=words):
        await piper(host, tmp_path).synthesize("Hello.", VoiceChoice())


async def test_a_voice_without_its_json_says_so(host: EngineHost, tmp_path: Path) -> None:
    path = tiny_models.piper_voice(tmp_path)
    Path(f"{path}.json").unlink()
    with pytest.raises(EngineUnavailableError, match="json is missing"):
        await piper(host, tmp_path).synthesize("Hello.", VoiceChoice())
    assert "missing" in str((await piper(host, tmp_path).voices())[0].problem)


async def test_without_voices_it_says_what_to_do(host: EngineHost, tmp_path: Path) -> None:
    with pytest.raises(EngineUnavailableError, match="Download one in the Voice tab"):
        await piper(host, tmp_path / "nothing").synthesize("Hello.", VoiceChoice())
    assert await piper(host, tmp_path).voices() == []
    missing = tmp_path / "gone.onnx"
    with pytest.raises(EngineUnavailableError, match=r"gone\.onnx"):
        await piper(host, tmp_path, voice_path=missing).synthesize("Hello.", VoiceChoice())


async def test_the_set_path_is_the_default_and_equal_names_stay_apart(
    host: EngineHost, tmp_path: Path
) -> None:
    tiny_models.piper_voice(tmp_path / "voices" / "a", "same")
    tiny_models.piper_voice(tmp_path / "voices" / "b", "same")
    own = tiny_models.piper_voice(tmp_path / "elsewhere", "own")
    engine = piper(host, tmp_path / "voices", voice_path=own)
    assert {info.name for info in await engine.voices()} == {"same", "b/same", "own"}
    assert (await engine.synthesize("Hi.", VoiceChoice())).voice == "own"
    assert (await engine.synthesize("Hi.", VoiceChoice(name="b/same"))).voice == "b/same"


async def test_a_changed_file_changes_the_cache_key(host: EngineHost, tmp_path: Path) -> None:
    path = tiny_models.piper_voice(tmp_path)
    before = piper(host, tmp_path).cache_key(VoiceChoice())
    os.utime(path, ns=(1, 1))
    assert piper(host, tmp_path).cache_key(VoiceChoice()) != before
