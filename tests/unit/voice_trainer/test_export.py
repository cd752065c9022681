"""A voice is kept only when ONNX does what torch does, and is used only when it spoke."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from backend.audio import espeak
from backend.audio.wav import to_wav
from voice_trainer import export
from voice_trainer.evaluate import Scores
from voice_trainer.export import Reference, examine, settings_of, write_quick
from voice_trainer.loop import TrainerError
from voice_trainer.quick.features import SpeakerStatistics, extract
from voice_trainer.quick.network import NetworkConfig, QuickNetwork
from voice_trainer.text.phonemes import phonemize

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

TEXTS = ["Good morning, everyone.", "How do you do?"]
RATE_HZ = 16_000


def network() -> QuickNetwork:
    """One that was taught nothing but how loud and how high speech is."""
    torch.manual_seed(3)
    made = QuickNetwork(
        NetworkConfig((RATE_HZ,), channels=16, encoder_dilations=(1,), decoder_dilations=(1,))
    )
    noise = np.random.default_rng(0).standard_normal(RATE_HZ).astype(np.float32) * 0.1
    tone = np.sin(2 * np.pi * 150 * np.arange(RATE_HZ) / RATE_HZ).astype(np.float32) * 0.3
    targets = extract(tone + noise * np.float32(0.1), RATE_HZ).targets()
    made.set_statistics(SpeakerStatistics.of([targets]))
    with torch.no_grad():
        made.duration.last.bias.fill_(2.0)  # log(frames + 1): six frames for each sound
    return made.eval()


@pytest.fixture(scope="module")
def voice(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("export") / "test.onnx"
    difference = write_quick(network(), path, language="en-us", texts=TEXTS)
    assert difference < 1e-3
    return path


def test_a_voice_is_two_files_that_piper_reads(voice: Path) -> None:
    assert {one.name for one in voice.parent.iterdir()} == {"test.onnx", "test.onnx.json"}
    settings = json.loads(voice.with_name("test.onnx.json").read_text(encoding="utf-8"))
    assert settings["audio"]["sample_rate"] == RATE_HZ
    assert settings["hop_length"] == 160
    assert settings["num_speakers"] == 1


def test_a_fresh_reader_hears_it_and_gets_phoneme_times(voice: Path) -> None:
    found = examine(voice, "en-us", RATE_HZ, TEXTS, [])

    assert found.problems == ()
    assert found.sentences == 2
    assert found.has_phoneme_times
    assert found.real_time_factor > 0


def test_a_graph_that_says_something_else_is_not_kept(
    voice: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = network()
    other.heads[
        str(RATE_HZ)
    ].bias.data += 0.5  # the graph below is that of the network without this

    def broken_exporter(module: object, inputs: object, name: str, **_: object) -> None:
        shutil.copy(voice, name)

    monkeypatch.setattr(torch.onnx, "export", broken_exporter)
    with pytest.raises(TrainerError, match="differs from the trained one") as error:
        write_quick(other, tmp_path / "a.onnx", language="en-us", texts=TEXTS)

    assert error.value.code == "export.broken"
    assert [*tmp_path.iterdir()] == []


def silenced(path: Path) -> None:
    """Multiply what the graph says by zero."""
    model = onnx.load(path)
    graph = model.graph
    for node in graph.node:
        for place, name in enumerate(node.output):
            if name == "output":
                node.output[place] = "loud"
    zero = onnx.numpy_helper.from_array(np.zeros(1, np.float32), "nothing")
    graph.initializer.append(zero)
    graph.node.append(onnx.helper.make_node("Mul", ["loud", "nothing"], ["output"]))
    onnx.save(model, path)


def test_a_silent_voice_is_found_out(voice: Path, tmp_path: Path) -> None:
    for one in voice.parent.iterdir():
        shutil.copy(one, tmp_path)
    silenced(tmp_path / voice.name)

    found = examine(tmp_path / voice.name, "en-us", RATE_HZ, TEXTS, [])

    assert "silent for 2 of 2 sentences" in found.problems[0]


def test_weights_in_other_files_are_refused_before_they_are_opened(
    voice: Path, tmp_path: Path
) -> None:
    model = onnx.load(voice)
    onnx.save(
        model, tmp_path / "far.onnx", save_as_external_data=True, location="weights.bin",
        size_threshold=0,
    )  # fmt: skip

    found = examine(tmp_path / "far.onnx", "en-us", RATE_HZ, TEXTS, [])

    assert "outside itself" in found.problems[0]
    assert found.sentences == 0


def test_a_voice_unlike_its_speaker_is_no_voice(voice: Path, tmp_path: Path) -> None:
    references = []
    for number, text in enumerate(TEXTS):
        spoken = espeak.synthesize(text, "en-us+f4", pitch=90)
        path = tmp_path / f"{number}.wav"
        path.write_bytes(to_wav(spoken.pcm, spoken.rate_hz))
        references.append(Reference(text, str(path)))

    found = examine(voice, "en-us", RATE_HZ, TEXTS[:1], references)

    assert any("semitones below" in one or "no nearer" in one for one in found.problems)
    assert found.scores.mcd_db is not None
    assert found.scores.mcd_db > 3


def test_marks_without_an_id_get_none_so_that_piper_does_not_stumble() -> None:
    text = "きょうは、あたらしいゲームをします。"

    settings = settings_of("ja", RATE_HZ, 160, "a", [text])

    ids = settings["phoneme_id_map"]
    assert [mark for mark, found in ids.items() if not found]
    assert set(phonemize(text, "ja").unknown) <= ids.keys()
    assert ids["a"] == [14]


@pytest.mark.parametrize(
    ("scores", "narrator", "words"),
    [
        (Scores(4.0, 0.8, 0.5, 1.1), 0.3, None),
        (Scores(4.0, 0.92, 0.5, 1.1), 0.95, None),
        (Scores(4.0, 0.5, 0.5, 1.1), 0.6, "no nearer to its speaker"),
        (Scores(4.0, 0.8, 6.0, 1.1), 0.3, "6.0 semitones above"),
        (Scores(4.0, 0.8, None, 1.1), 0.3, "no pitch"),
        (Scores(4.0, 0.8, 0.0, 2.5), 0.3, "2.50 times as long"),
        (Scores(4.0, 0.8, 0.0, 0.2), 0.3, "0.20 times as long"),
        (Scores(4.0, None, 0.0, 1.0), 0.3, "too little"),
    ],
)
def test_a_voice_is_judged_by_rhythm_pitch_and_likeness(
    scores: Scores, narrator: float, words: str | None
) -> None:
    problems = export._judged(scores, narrator)

    assert (problems == []) if words is None else (words in problems[0])
