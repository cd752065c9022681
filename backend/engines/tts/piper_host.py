"""The part of Piper that runs in its own process: checks a voice file, loads it, speaks.

A voice is somebody else's file. Before onnxruntime sees it the graph is read as data: no tensors in other files, no
operators that would need a library, and what is checked is what is loaded (the same bytes). Nothing is downloaded.
"""

from __future__ import annotations

import json
import math
import re
import threading
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from backend.audio import espeak
from backend.contracts.errors import EngineFailedError, EngineUnavailableError

if TYPE_CHECKING:
    import onnx
    from piper import PiperVoice

FIRST = ("numpy",)  # imported before any call, by one thread
MOST_LOADED = 3  # voices; a medium one takes about 120 MB
MOST_BYTES = 512 << 20  # of a voice file; the largest public ones have 115 MB
MOST_JSON_BYTES = 4 << 20
MAX_SECONDS = 180.0

DOMAINS = frozenset({"", "ai.onnx", "ai.onnx.ml"})
INPUTS = {"input", "input_lengths", "scales"}
PHONEMES = ("espeak", "text", "hebrew", "japanese", "thai", "pinyin")
STRESSES, LENGTHS = (
    ("\u02c8", "\u02cc"),
    ("\u02d0", "\u02d1"),
)  # IPA: primary, secondary; long, half
ESPEAK_VOICE = re.compile(r"[A-Za-z0-9_+-]{1,40}")

_loading = threading.Lock()
_loaded: OrderedDict[tuple[str, int, int, bool], PiperVoice] = OrderedDict()
_inspected: dict[tuple[str, int, int], dict[str, Any]] = {}


def warm(path: str, *, use_gpu: bool = True) -> None:
    """Load a voice and let it speak once: the first run allocates."""
    synthesize(path, b"ready", use_gpu=use_gpu)


def load(path: str, *, use_gpu: bool = True) -> None:
    """Load a voice."""
    _voice(Path(path), use_gpu)


def synthesize(
    path: str,
    text: bytes,
    *,
    speaker: int | None = None,
    rate: float = 1.0,
    volume: float = 1.0,
    length_scale: float | None = None,
    noise_scale: float | None = None,
    noise_w_scale: float | None = None,
    use_gpu: bool = True,
) -> tuple[bytes, int, list[tuple[str, float, float]]]:
    """PCM16, its rate, and the phonemes with their times in s where the voice tells them; ``text`` is UTF-8."""
    import numpy as np
    from piper import SynthesisConfig

    voice = _voice(Path(path), use_gpu)
    if speaker is not None and speaker >= voice.config.num_speakers:
        raise EngineUnavailableError(
            f"{Path(path).stem} has {voice.config.num_speakers} speakers, numbered from 0; there is no {speaker}."
        )
    settings = SynthesisConfig(
        speaker_id=speaker,
        length_scale=(voice.config.length_scale if length_scale is None else length_scale) / rate,
        noise_scale=noise_scale,
        noise_w_scale=noise_w_scale,
        volume=volume,
    )
    # Two brackets would have piper read phonemes instead of words.
    words = espeak.speakable(text.decode("utf-8", "replace")).replace("[[", "[ [")
    rate_hz = voice.config.sample_rate
    pieces: list[bytes] = []
    phonemes: list[tuple[str, float, float]] = []
    samples = 0
    try:
        for chunk in voice.synthesize(words, settings, include_alignments=True):
            sound = np.atleast_1d(chunk.audio_float_array)
            if sound.ndim != 1 or not np.isfinite(sound).all():
                raise EngineFailedError(f"The voice {Path(path).stem} is broken: it made no sound.")
            at = samples
            for mark in chunk.phoneme_alignments or ():
                end = at + int(mark.num_samples)
                if samples <= at < end <= samples + sound.size:
                    _add_phoneme(phonemes, mark.phoneme, at / rate_hz, end / rate_hz)
                at = end
            pieces.append(chunk.audio_int16_bytes)
            samples += sound.size
            if samples > MAX_SECONDS * rate_hz:
                break
    except (EngineFailedError, ModuleNotFoundError):
        raise
    except Exception as error:  # onnxruntime and piper raise classes of their own for broken voices
        raise EngineFailedError(
            f"The voice {Path(path).stem} failed to speak: {type(error).__name__}: {str(error)[:300]}"
        ) from error
    pcm = b"".join(pieces)[: int(MAX_SECONDS * rate_hz) * 2]
    return pcm, rate_hz, phonemes


def _add_phoneme(
    phonemes: list[tuple[str, float, float]], mark: str, start_s: float, end_s: float
) -> None:
    """Piper gives stress, length and punctuation times of their own; here they belong to a sound, or to none."""
    if mark in LENGTHS and phonemes:
        before = phonemes[-1]
        phonemes[-1] = (before[0] + mark, before[1], end_s)
    elif mark in STRESSES:
        phonemes.append((mark, start_s, end_s))
    elif any(letter.isalpha() for letter in mark):
        if phonemes and phonemes[-1][0] in STRESSES:
            stress, start_s, _ = phonemes.pop()
            mark = stress + mark
        phonemes.append((mark, start_s, end_s))


def _voice(path: Path, use_gpu: bool) -> PiperVoice:
    with _loading:
        try:
            mark = path.stat()
        except OSError as error:
            raise EngineUnavailableError(f"The voice file {path} is gone.") from error
        key = (str(path), mark.st_size, mark.st_mtime_ns, use_gpu)
        if key not in _loaded:
            _loaded[key] = _load(path, use_gpu)
            while len(_loaded) > MOST_LOADED:
                _loaded.popitem(last=False)
        _loaded.move_to_end(key)
        return _loaded[key]


def _load(path: Path, use_gpu: bool) -> PiperVoice:
    import onnxruntime
    from piper import PiperVoice
    from piper.config import PiperConfig
    from piper.patch_voice_with_alignment import add_alignment_output

    settings = _settings(path)
    model = _graph(path)
    try:
        add_alignment_output(
            model
        )  # lip-sync: most public voices know their durations but do not tell
    except ValueError:
        pass  # it tells already, or has none
    data = model.SerializeToString()
    del model
    session_options = onnxruntime.SessionOptions()
    session_options.log_severity_level = 3
    available = onnxruntime.get_available_providers()
    wanted = ["CUDAExecutionProvider", "DmlExecutionProvider"] if use_gpu else []
    providers = [*(name for name in wanted if name in available), "CPUExecutionProvider"]
    try:
        session = onnxruntime.InferenceSession(data, session_options, providers=providers)
    except Exception as error:  # onnxruntime has no public base class of its errors
        raise EngineUnavailableError(
            f"The voice {path.name} cannot be loaded: {str(error)[:300]}"
        ) from error
    return PiperVoice(config=PiperConfig.from_dict(settings), session=session)


def inspect(file: str) -> dict[str, Any]:
    """Title, language, speakers and rate_hz of a voice, or its problem in words."""
    path = Path(file)
    try:
        marks = [each.stat() for each in (path, _settings_path(path))]
    except OSError:
        return {"problem": f"{_settings_path(path).name} is missing beside {path.name}."}
    key = (str(path), marks[0].st_mtime_ns, marks[1].st_mtime_ns)
    if key not in _inspected:
        try:
            settings = _settings(path)
            _graph(path)
        except EngineUnavailableError as error:
            _inspected[key] = {"problem": error.message}
        else:
            language = settings.get("language")
            language = language if isinstance(language, dict) else {}
            quality = settings["audio"].get("quality", "")
            _inspected[key] = {
                "title": " ".join(str(part) for part in (path.stem, quality) if part)[:100],
                "language": str(language.get("code") or settings["espeak"]["voice"])[:40],
                "speakers": settings["num_speakers"],
                "rate_hz": settings["audio"]["sample_rate"],
            }
    return _inspected[key]


def _settings_path(path: Path) -> Path:
    return Path(f"{path}.json")


def _settings(path: Path) -> dict[str, Any]:
    """The voice's JSON, with everything piper reads from it checked."""
    file = _settings_path(path)
    try:
        if file.stat().st_size > MOST_JSON_BYTES:
            raise _refused(path, f"{file.name} has more than {MOST_JSON_BYTES >> 20} MB")
        settings = json.loads(file.read_text("utf-8"))
    except OSError as error:
        raise _refused(path, f"{file.name} is missing beside it") from error
    except (ValueError, RecursionError) as error:
        raise _refused(path, f"{file.name} is no JSON") from error
    problem = _settings_problem(settings)
    if problem:
        raise _refused(path, f"{file.name}: {problem}")
    return dict(settings)


def _settings_problem(settings: Any) -> str:
    """What is wrong with a voice's JSON, empty when nothing is."""
    if not isinstance(settings, dict):
        return "it is no JSON object"
    audio, espeak = settings.get("audio"), settings.get("espeak")
    if not isinstance(audio, dict) or not _is_whole(audio.get("sample_rate"), 4_000, 192_000):
        return "audio.sample_rate is not between 4,000 and 192,000"
    if not isinstance(espeak, dict) or not ESPEAK_VOICE.fullmatch(str(espeak.get("voice", ""))):
        return "espeak.voice is no language"
    if not _is_whole(settings.get("num_symbols"), 1, 100_000):
        return "num_symbols is missing"
    if not _is_whole(settings.get("num_speakers"), 1, 100_000):
        return "num_speakers is missing"
    if not _is_whole(settings.get("hop_length", 256), 1, 8_192):
        return "hop_length is not between 1 and 8,192"
    if settings.get("phoneme_type", "espeak") not in PHONEMES:
        return f"phoneme_type is none of {', '.join(PHONEMES)}"
    if settings.get("phoneme_type") == "pinyin":
        return "pinyin voices need a model that piper would download by itself; Luma does not"
    ids = settings.get("phoneme_id_map")
    if not isinstance(ids, dict) or not ids or len(ids) > 100_000:
        return "phoneme_id_map is missing"
    for some in ids.values():
        if not isinstance(some, list) or not all(_is_whole(one, 0, 100_000) for one in some):
            return "phoneme_id_map holds something other than lists of ids"
    inference = settings.get("inference", {})
    if not isinstance(inference, dict) or not all(
        isinstance(value, int | float) and math.isfinite(value) and 0 <= value <= 10
        for name, value in inference.items()
        if name in ("noise_scale", "length_scale", "noise_w")
    ):
        return "inference holds a scale that is not between 0 and 10"
    return ""


def _is_whole(value: Any, low: int, high: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and low <= value <= high


def _graph(path: Path) -> onnx.ModelProto:
    """The voice's graph, read as data and checked.

    Raises:
        EngineUnavailableError: If it is no graph, or one that is not run here.
    """
    import onnx
    from google.protobuf.message import DecodeError

    try:
        size = path.stat().st_size
        if size > MOST_BYTES:
            raise _refused(path, f"it has {size >> 20} MB, more than {MOST_BYTES >> 20}")
        model = onnx.load_from_string(path.read_bytes())
    except OSError as error:
        raise _refused(path, f"it cannot be read ({error.strerror})") from error
    except DecodeError as error:
        raise _refused(path, "it is no ONNX file, or cut off") from error
    for entry in (*model.opset_import, *model.functions):
        _check_domain(path, entry.domain)
    for graph in _graphs(model):
        for node in graph.node:
            _check_domain(path, node.domain)
        for tensor in _tensors(graph):
            if tensor.data_location == onnx.TensorProto.EXTERNAL or tensor.external_data:
                raise _refused(path, "it keeps data in another file, which is refused")
    names = {given.name for given in model.graph.input}
    if not names >= INPUTS or not model.graph.output:
        raise _refused(path, f"it is no Piper voice: its inputs are {sorted(names)[:8]}")
    return model


def _check_domain(path: Path, domain: str) -> None:
    if domain not in DOMAINS:
        raise _refused(path, f"it uses operators of {domain[:60]!r}, which is refused")


def _graphs(model: onnx.ModelProto) -> Iterator[Any]:
    """The graph, the bodies of its functions, and all graphs inside their nodes."""
    waiting: list[Any] = [model.graph, *model.functions]
    while waiting:
        graph = waiting.pop()
        yield graph
        for node in graph.node:
            for attribute in node.attribute:
                if attribute.HasField("g"):
                    waiting.append(attribute.g)
                waiting.extend(attribute.graphs)


def _tensors(graph: Any) -> Iterator[onnx.TensorProto]:
    yield from getattr(graph, "initializer", ())
    for sparse in getattr(graph, "sparse_initializer", ()):
        yield sparse.values
        yield sparse.indices
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors
            for sparse in (attribute.sparse_tensor, *attribute.sparse_tensors):
                yield sparse.values
                yield sparse.indices


def _refused(path: Path, why: str) -> EngineUnavailableError:
    return EngineUnavailableError(f"The voice {path.name} cannot be used: {why}.")
