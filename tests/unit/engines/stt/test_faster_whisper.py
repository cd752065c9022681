"""faster-whisper: OpenAI's models are converted once and read the same; nothing is downloaded, nothing goes unsaid."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import random
import shutil
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from backend.audio import espeak
from backend.contracts.entities import Audio, ServiceInfo
from backend.contracts.errors import EngineUnavailableError
from backend.core.workers import EngineHost
from backend.engines.stt import RECOGNISERS, options, whisper_convert
from backend.engines.stt.base import STT
from tests import tiny_models

pytestmark = [
    pytest.mark.slow,  # it loads models
    pytest.mark.skipif(
        importlib.util.find_spec("faster_whisper") is None, reason="faster-whisper is not installed"
    ),
]

SAID = "Guten Tag, Zoë! Wie geht's?"


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("whisper") / "base.pt"
    return tiny_models.whisper_saying(path, SAID, "de", is_multilingual=True)


@pytest.fixture(scope="module")
def converted(source: Path) -> Path:
    folder = source.parent / "converted" / "base"
    whisper_convert.convert(str(source), str(folder))
    return folder


@pytest.fixture(scope="module")
def spoken() -> Audio:
    said = espeak.synthesize("Good day to you, how are you?", "en-us")
    return Audio(said.pcm, said.rate_hz)


@pytest.fixture
async def host() -> AsyncIterator[EngineHost]:
    host = EngineHost()
    yield host
    await host.stop()


def engine(host: EngineHost, folder: Path, models: Path, **given: object) -> STT:
    made = options.FasterWhisperOptions(host, folder, models, timeout_s=60, **given)  # type: ignore[arg-type]  # values of different fields
    return RECOGNISERS.create("faster_whisper", made)


@pytest.mark.slow
async def test_both_whispers_read_the_same_from_the_same_file(
    host: EngineHost, source: Path, spoken: Audio, tmp_path: Path
) -> None:
    """The language is found, the letters survive, and the folder is made on the way."""
    fast = engine(host, tmp_path / "models", source.parent)
    slow = RECOGNISERS.create("whisper", options.WhisperOptions(host, source.parent, timeout_s=60))
    quick, usual = await asyncio.gather(fast.transcribe(spoken), slow.transcribe(spoken))
    assert quick.text == usual.text == SAID
    assert quick.language == usual.language == "de"
    assert quick.segments == usual.segments
    assert (quick.engine, usual.engine) == ("faster_whisper", "whisper")
    assert quick.no_speech == usual.no_speech == 0.0
    assert quick.log_probability == pytest.approx(usual.log_probability, abs=0.01)
    assert quick.compression == pytest.approx(usual.compression, abs=0.05)
    files = sorted(path.name for path in (tmp_path / "models" / "base").iterdir())
    assert {"model.bin", "config.json", "tokenizer.json", "vocabulary.json"} <= set(files)
    assert [path.name for path in (tmp_path / "models").iterdir()] == ["base"]


@pytest.mark.slow
async def test_a_model_is_converted_and_loaded_before_the_first_utterance(
    source: Path, tmp_path: Path
) -> None:
    begun = asyncio.Event()

    def on_change(info: ServiceInfo) -> None:
        if info.name == "engine/faster_whisper":
            begun.set()

    host = EngineHost(on_change)
    reader = engine(host, tmp_path / "models", source.parent)
    reader.warm()
    async with asyncio.timeout(100):
        await begun.wait()  # its process only starts for a model that is there
    assert (tmp_path / "models" / "base" / "model.bin").is_file()
    await reader.close()
    await host.stop()


async def test_a_short_window_and_a_fixed_language_read_the_same_words(
    host: EngineHost, converted: Path, spoken: Audio
) -> None:
    reader = engine(host, converted.parent, converted.parent / "none", window_s=5, language="ja")
    transcript = await reader.transcribe(spoken)
    assert transcript.language == "ja"
    # told the language, the model is one place behind in what it always says
    assert SAID in transcript.text
    assert (await reader.transcribe(spoken, "de-AT")).language == "de"


@pytest.mark.slow
def test_a_model_changed_since_is_converted_again(tmp_path: Path) -> None:
    source = tiny_models.whisper_saying(tmp_path / "mine.pt", "one")
    folder = tmp_path / "made" / "mine"
    whisper_convert.convert(str(source), str(folder))
    first = (folder / "model.bin").read_bytes()
    note = (folder / "model.bin").stat().st_mtime_ns
    whisper_convert.convert(str(source), str(folder))
    assert (folder / "model.bin").stat().st_mtime_ns == note
    tiny_models.whisper_saying(source, "two words")
    whisper_convert.convert(str(source), str(folder))
    assert (folder / "model.bin").read_bytes() != first


def test_the_converted_tokenizer_cuts_text_as_openais_does(converted: Path) -> None:
    import tokenizers
    from whisper.tokenizer import get_tokenizer

    ours = tokenizers.Tokenizer.from_file(str(converted / "tokenizer.json"))
    theirs = get_tokenizer(True, num_languages=99)
    chance = random.Random(3)
    alphabets = [
        "abcdefghij'. ,ABC",
        "äöüßéñçø ",
        "ぁあぃいうえお、。",
        "привет ",
        "0123456789 :-",
        "♪😀\n\t ",
    ]
    texts = [
        "".join(chance.choice(chance.choice(alphabets)) for _ in range(30)) for _ in range(200)
    ]
    for text in ["Hello there, it's me.", " -", " '", *texts]:
        ids = ours.encode(text, add_special_tokens=False).ids
        assert ids == theirs.encoding.encode(text)
        assert ours.decode(ids) == text
    for name in ("<|startoftranscript|>", "<|de|>", "<|notimestamps|>", "<|30.00|>"):
        assert ours.token_to_id(name) == theirs.encoding.encode_single_token(name)
    settings = json.loads((converted / "config.json").read_text("utf-8"))
    assert len(settings["lang_ids"]) == 99


@pytest.mark.slow
def test_the_converted_encoder_hears_what_whispers_does(tmp_path: Path) -> None:
    import numpy as np
    import torch
    import whisper
    from faster_whisper import WhisperModel

    source = tiny_models.whisper_model(tmp_path / "random.pt")
    whisper_convert.convert(str(source), str(tmp_path / "random"))
    mel = torch.from_numpy(np.random.default_rng(1).normal(size=(80, 3000)).astype(np.float32))
    with torch.no_grad():
        theirs = whisper.load_model(str(source), "cpu").encoder(mel[None]).numpy()
    ours = WhisperModel(str(tmp_path / "random"), device="cpu", compute_type="float32")
    heard = np.array(ours.encode(mel.numpy()))
    # weights are kept in float16
    assert float(np.abs(heard - theirs).max()) < 0.02 * float(np.abs(theirs).max())


async def test_what_is_missing_is_named_and_never_fetched(
    host: EngineHost, converted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_network(*_: object) -> None:
        raise AssertionError("a connection was opened")

    monkeypatch.setattr(socket.socket, "connect", no_network)
    folder = tmp_path / "models"
    shutil.copytree(converted, folder / "half")
    (folder / "half" / "tokenizer.json").unlink()
    for model, words in (
        ("base", "'base' is neither in"),
        ("half", "lacks tokenizer.json"),
        ("/nowhere/x.pt", "no Whisper model at"),
    ):
        reader = engine(host, folder, tmp_path / "whisper", model=model)
        reader.warm()
        with pytest.raises(EngineUnavailableError, match=words):
            await reader.transcribe(Audio(bytes(32000), 16000))
    assert host.health() == []  # no process was started for it


async def test_files_that_are_no_models_are_refused_in_words(
    host: EngineHost, converted: Path, spoken: Audio, tmp_path: Path
) -> None:
    (tmp_path / "base.pt").write_bytes(b"nothing")
    with pytest.raises(EngineUnavailableError, match=r"base\.pt is no Whisper model"):
        await engine(host, tmp_path / "models", tmp_path).transcribe(spoken)
    assert list((tmp_path / "models").iterdir()) == []
    shutil.copytree(converted, tmp_path / "models" / "broken")
    (tmp_path / "models" / "broken" / "model.bin").write_bytes(b"\x00" * 100)
    with pytest.raises(EngineUnavailableError, match="broken is no model"):
        await engine(host, tmp_path / "models", tmp_path, model="broken").transcribe(spoken)


async def test_without_the_library_it_says_how_to_get_it(
    host: EngineHost, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    reader = engine(host, source.parent, source.parent)
    with pytest.raises(EngineUnavailableError, match="pip install"):
        await reader.transcribe(Audio(bytes(32000), 16000))
