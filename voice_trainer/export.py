"""From a checkpoint to a voice that PiperVoice loads, and the proof that it speaks.

Public names: `write_quick(...)` (the quick trainer's network as .onnx and .onnx.json), `verify(...)` (any trainer's voice,
in a fresh process), `settings_of(...)`. A file is kept only after torch and ONNX gave the same sound, and a job is done
only after the voice spoke in a process that knows nothing of the training.

Run as a program (``python -m voice_trainer.export REQUEST``) it is that process.
"""

from __future__ import annotations

import logging
import math
import os
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from backend.audio.levels import FloatArray, from_pcm16, level_dbfs
from backend.audio.resample import resample
from voice_trainer.evaluate import Scores, compare, similarity_of
from voice_trainer.loop import Reporter, Steering, TrainerError
from voice_trainer.protocol import EXPORT, read_json, write_json
from voice_trainer.text.phonemes import id_map, phonemize, sentences

if TYPE_CHECKING:
    from voice_trainer.quick.network import QuickNetwork

logger = logging.getLogger(__name__)

OPSET = 17
NOISE, LENGTH, RHYTHM_NOISE = 0.667, 1.0, 0.8
"""Piper's usual scales; written into the voice."""

CLOSE_ENOUGH = 5e-3
"""Largest difference between torch and ONNX, in parts of the sound's peak (-46 dB). Seen: 3e-4 to 6e-4, at the tips of the
glottal pulses; a graph that does something else differs by a tenth and more."""

MOST_REFERENCES = 8
VERIFY_TIMEOUT_S = 600.0
SILENT_DBFS = -45.0  # of speech brought to full scale; 99 % silence would still read -35
MOST_DURATION_RATIO = 1.6
MOST_PITCH_SEMITONES = 4.0
SAME_VOICE = 0.9
"""Similarity of two clips of one speaker: a voice this near needs not be nearer than the narrator."""

REQUEST, VERDICT = "verify.json", "verified.json"


@dataclass(frozen=True, slots=True)
class Reference:
    """A sentence that the voice must say like its speaker: what is said, and the recording."""

    text: str
    path: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the fresh process found.

    Attributes:
        problems: Why the voice is no good, in words; empty = it is.
        scores: Against the references.
        narrator_similarity: Of the embedded voice, saying the same, to the speaker: what a voice must beat.
        sentences: How many it spoke.
        real_time_factor: Seconds of work by seconds of sound, on one thread's share of this computer.
        has_phoneme_times: Whether the voice says when each phoneme sounds (lip-sync).
    """

    problems: tuple[str, ...]
    scores: Scores
    narrator_similarity: float | None
    sentences: int
    real_time_factor: float
    has_phoneme_times: bool


def settings_of(
    language: str, rate_hz: int, hop: int, name: str, texts: Sequence[str] = ()
) -> dict[str, Any]:
    """The JSON beside a voice, as PiperVoice reads it.

    Symbols of ``texts`` that no id stands for get an empty list of ids: they were left out in training, and piper, which
    leaves them out as well, would otherwise complain and tell no phoneme times for the sentence (Japanese has three).
    """
    unknown = {mark for text in texts for mark in phonemize(text, language).unknown}
    return {
        "audio": {"sample_rate": rate_hz, "quality": "low" if rate_hz <= 16_000 else "medium"},
        "espeak": {"voice": language},
        "language": {"code": language},
        "inference": {"noise_scale": NOISE, "length_scale": LENGTH, "noise_w": RHYTHM_NOISE},
        "phoneme_type": "espeak",
        "phoneme_map": {},
        "phoneme_id_map": id_map() | {mark: [] for mark in sorted(unknown)},
        "num_symbols": 256,
        "num_speakers": 1,
        "speaker_id_map": {},
        "hop_length": hop,
        "piper_version": version("piper-tts"),
        "dataset": name,
    }


def write_quick(
    network: QuickNetwork,
    path: Path,
    *,
    language: str,
    texts: Sequence[str],
    vocabulary: Sequence[str] = (),
) -> float:
    """Write a network of the quick trainer as a voice; both files appear only if ONNX does what torch does.

    Args:
        network: With the averaged weights; its place and mode are not changed.
        path: Ends with ".onnx".
        language: espeak voice that turns text into phonemes.
        texts: Sentences to compare on.
        vocabulary: Further texts of the language, see `settings_of`.

    Returns:
        The largest difference, in parts of the sound's peak.

    Raises:
        TrainerError: export.broken.
    """
    import torch

    from voice_trainer.quick.network import INPUT_NAMES, OUTPUT_NAMES, QuickNetwork, Voice
    from voice_trainer.quick.vocoder import Vocoder

    own = QuickNetwork(network.config)
    own.load_state_dict(network.state_dict())
    vocoder = Vocoder(network.rate_hz)
    voice = Voice(own, vocoder).eval()
    inputs = [_inputs(list(one.ids)) for text in texts for one in sentences(text, language)]
    if not inputs:
        raise TrainerError("export.broken", "There is no sentence to compare the export on.")
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    os.close(handle)
    half = Path(name)
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=[]), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the tracer explains itself at length
            torch.onnx.export(
                voice,
                tuple(torch.from_numpy(one) for one in inputs[0].values()),
                name,
                dynamo=False,
                opset_version=OPSET,
                input_names=list(INPUT_NAMES),
                output_names=list(OUTPUT_NAMES),
                dynamic_axes={
                    "input": {0: "batch", 1: "phonemes"},
                    "input_lengths": {0: "batch"},
                    "output": {0: "batch", 2: "samples"},
                    "durations": {0: "batch", 1: "phonemes"},
                },
            )
            difference = _difference(voice, half, inputs)
        if not difference <= CLOSE_ENOUGH:
            raise TrainerError(
                "export.broken",
                f"The exported voice differs from the trained one by {difference:.2g} of its peak, more than "
                f"{CLOSE_ENOUGH:.2g}. The checkpoint is kept; export an earlier one.",
            )
        write_json(
            path.with_name(f"{path.name}.json"),
            settings_of(
                language, network.rate_hz, vocoder.grid.hop, path.stem, [*texts, *vocabulary]
            ),
        )
        with half.open("rb+") as file:
            os.fsync(file.fileno())
        half.replace(path)
    finally:
        half.unlink(missing_ok=True)
    return difference


def verify(
    folder: Path,
    model: Path,
    *,
    language: str,
    rate_hz: int,
    say: Sequence[str],
    references: Sequence[Reference],
    reporter: Reporter,
    steering: Steering,
) -> Verdict:
    """Let a voice speak in a fresh process and compare it with its speaker.

    Args:
        folder: The job folder; request and verdict lie in its export/.
        model: The ``.onnx``.
        language: espeak voice of the texts.
        rate_hz: Of the voice.
        say: Sentences it must be able to say.
        references: Recordings it must come near to; at most `MOST_REFERENCES` are used.
        reporter: Told how far it is.
        steering: Obeyed while the process runs.

    Raises:
        TrainerError: verify.failed, with every reason; the voice must not be used.
        Stopped: As asked.
    """
    request = {
        "model": str(model),
        "language": language,
        "rate_hz": rate_hz,
        "say": list(say),
        "references": [asdict(one) for one in references[:MOST_REFERENCES]],
    }
    write_json(folder / EXPORT / REQUEST, request)
    answer = folder / EXPORT / VERDICT
    answer.unlink(missing_ok=True)
    root = Path(__file__).resolve().parent.parent
    command = [sys.executable, "-m", "voice_trainer.export", str(folder / EXPORT / REQUEST)]
    child = subprocess.Popen(command, cwd=root, stdin=subprocess.DEVNULL)
    begin = time.monotonic()
    try:
        while child.poll() is None:
            steering.obey(reporter)
            if time.monotonic() - begin > VERIFY_TIMEOUT_S:
                raise TrainerError(
                    "verify.failed", f"The voice did not speak within {VERIFY_TIMEOUT_S:.0f} s."
                )
            time.sleep(0.05)
    finally:
        if child.poll() is None:
            child.kill()
            child.wait()
    if child.returncode != 0 or not answer.exists():
        raise TrainerError(
            "verify.failed",
            "The exported voice cannot be loaded by Piper; the job's log says why. Checkpoints are kept.",
        )
    told = read_json(answer)
    verdict = Verdict(
        **{**told, "problems": tuple(told["problems"]), "scores": Scores(**told["scores"])}
    )
    if verdict.problems:
        raise TrainerError(
            "verify.failed",
            "The voice was trained, but it is not good enough to be used: "
            + "; ".join(verdict.problems)
            + ". Train longer or with more clips; the checkpoints are kept.",
        )
    return verdict


def examine(
    model: Path, language: str, rate_hz: int, say: Sequence[str], references: Sequence[Reference]
) -> Verdict:
    """Load a voice and judge what it says; this is what the fresh process does."""
    from piper import PiperVoice

    from voice_trainer.dataset import read_sound

    problems = (
        [f"the file {model.name} keeps weights outside itself"] if _is_scattered(model) else []
    )
    if problems:
        return Verdict(tuple(problems), Scores(), None, 0, 0.0, False)
    voice = PiperVoice.load(model)
    texts = [*say, *(one.text for one in references)]
    spoken: list[FloatArray] = []
    has_times = False
    begin = time.perf_counter()
    for text in texts:
        chunks = [*voice.synthesize(text, include_alignments=True)]
        has_times = has_times or any(chunk.phoneme_alignments for chunk in chunks)
        pieces = [chunk.audio_float_array.reshape(-1) for chunk in chunks]
        spoken.append(np.concatenate(pieces) if pieces else np.zeros(0, np.float32))
    took_s = time.perf_counter() - begin
    silent = []
    for text, sound in zip(texts, spoken, strict=True):
        if not np.isfinite(sound).all():
            problems.append(f"it says numbers that are none for {_short(text)}")
        elif sound.size < rate_hz // 20 or level_dbfs(sound) < SILENT_DBFS:
            silent.append(text)
    if silent:
        problems.append(
            f"it is silent for {len(silent)} of {len(texts)} sentences, like {_short(silent[0])}"
        )
    sound_s = max(sum(one.size for one in spoken) / rate_hz, 1e-3)
    if problems or not references:
        return Verdict(tuple(problems), Scores(), None, len(texts), took_s / sound_s, has_times)
    real = [read_sound(Path(one.path), rate_hz) for one in references]
    scores = compare(spoken[len(say) :], real, rate_hz)
    narrator = _narrator_similarity([one.text for one in references], language, real, rate_hz)
    problems += _judged(scores, narrator)
    return Verdict(tuple(problems), scores, narrator, len(texts), took_s / sound_s, has_times)


def _judged(scores: Scores, narrator: float | None) -> list[str]:
    problems = []
    ratio, pitch = scores.duration_ratio or 0.0, scores.pitch_semitones
    if not 1 / MOST_DURATION_RATIO <= ratio <= MOST_DURATION_RATIO:
        problems.append(f"it needs {ratio:.2f} times as long as its speaker for the same words")
    if pitch is None:
        problems.append("it has no pitch")
    elif abs(pitch) > MOST_PITCH_SEMITONES:
        side = "above" if pitch > 0 else "below"
        problems.append(f"its pitch lies {abs(pitch):.1f} semitones {side} its speaker's")
    own = scores.similarity
    if own is None:
        problems.append("it says too little to be compared with its speaker")
    elif own < SAME_VOICE and narrator is not None and own <= narrator:
        problems.append(
            f"it is no nearer to its speaker than the embedded voice is ({own:.2f} against {narrator:.2f})"
        )
    return problems


def _narrator_similarity(
    texts: Sequence[str], language: str, real: Sequence[FloatArray], rate_hz: int
) -> float | None:
    """How alike the embedded voice, of which the base was made, is to the speaker."""
    from backend.audio import espeak

    said = []
    for text in texts:
        rendering = espeak.synthesize(text, language)
        said.append(resample(from_pcm16(rendering.pcm), rendering.rate_hz, rate_hz))
    return similarity_of(said, real, rate_hz)


def _inputs(ids: list[int]) -> dict[str, np.ndarray[Any, Any]]:
    """One sentence as Piper hands it to a voice, padding between the phonemes included, without random rhythm."""
    padded = [0] * (2 * len(ids) - 1)
    padded[::2] = ids
    return {
        "input": np.array([padded], dtype=np.int64),
        "input_lengths": np.array([len(padded)], dtype=np.int64),
        "scales": np.array([NOISE, LENGTH, 0.0], dtype=np.float32),
    }


def _difference(voice: Any, path: Path, inputs: Sequence[dict[str, np.ndarray[Any, Any]]]) -> float:
    """Largest difference of torch and ONNX over the sentences whose rhythm agrees to the frame; inf if none does.

    A duration of 4.5 frames may be rounded up by one and down by the other; that is no fault of either.
    """
    import onnxruntime
    import torch

    session = onnxruntime.InferenceSession(path.read_bytes(), providers=["CPUExecutionProvider"])
    worst, compared = 0.0, 0
    for one in inputs:
        wanted, wanted_frames = (
            value.numpy() for value in voice(*(torch.from_numpy(value) for value in one.values()))
        )
        given, given_frames = session.run(None, one)
        if not np.isfinite(wanted).all() or not np.isfinite(given).all():
            return math.nan
        if np.abs(wanted_frames - given_frames).max() > 1:
            return math.inf
        if not np.array_equal(wanted_frames, given_frames):
            continue
        compared += 1
        peak = max(float(np.abs(wanted).max()), 1e-6)
        worst = max(worst, float(np.abs(wanted - given).max()) / peak)
    return worst if compared else math.inf


def _is_scattered(model: Path) -> bool:
    """Whether an ONNX file refers to tensors in other files, which nobody must open."""
    import onnx

    graph = onnx.load(str(model), load_external_data=False).graph
    return any(one.data_location == onnx.TensorProto.EXTERNAL for one in graph.initializer)


def _short(text: str) -> str:
    return f'"{text[:40]}…"' if len(text) > 40 else f'"{text}"'


def main(arguments: list[str]) -> int:
    """Examine a voice as a request file says, and write the verdict beside it."""
    request = Path(arguments[0])
    asked = read_json(request)
    logging.basicConfig(level=logging.WARNING)
    verdict = examine(
        Path(asked["model"]),
        asked["language"],
        int(asked["rate_hz"]),
        asked["say"],
        [Reference(**one) for one in asked["references"]],
    )
    write_json(request.with_name(VERDICT), asdict(verdict))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
