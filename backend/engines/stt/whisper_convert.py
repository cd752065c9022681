"""From OpenAI's Whisper file (``.pt``) to the folder that faster-whisper reads (CTranslate2), in a process of its own.

Weights are copied, halved in size to float16; what OpenAI's tokenizer knows becomes a tokenizer.json. Nothing is
fetched. Base takes 3 s. The usual way, CTranslate2's own converter, wants the model a second time from Hugging Face.
"""

from __future__ import annotations

import json
import os
import shutil
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from backend.contracts.errors import EngineUnavailableError

FIRST = ("numpy",)
IDLE_S = 10.0  # torch keeps 300 MB, for something that is done once

BASE_VOCABULARY = 51_765

_lock = threading.Lock()


def convert(source: str, folder: str) -> None:
    """Make the model's folder; nothing to do when it was made from this file already.

    Raises:
        EngineUnavailableError: The file is no Whisper model, or the folder cannot be written.
    """
    path, target = Path(source), Path(folder)
    with _lock:
        made_from = mark(path)
        note = target / "made-from.txt"
        if note.is_file() and note.read_text("utf-8") == made_from:
            return
        part = target.with_name(f".{target.name}.{os.getpid()}.part")
        shutil.rmtree(part, ignore_errors=True)
        try:
            part.mkdir(parents=True)
            _write(path, part)
            (part / "made-from.txt").write_text(made_from, "utf-8")
            shutil.rmtree(target, ignore_errors=True)
            part.replace(target)
        except OSError as error:
            raise EngineUnavailableError(
                f"{path.name} cannot be converted for faster-whisper into {target}: {error.strerror or error}. Make room "
                "there, or take faster_whisper out of STT_CHAIN."
            ) from error
        finally:
            shutil.rmtree(part, ignore_errors=True)


def mark(source: Path) -> str:
    """What tells one version of a file from the next."""
    found = source.stat()
    return f"{source.name} {found.st_size} {found.st_mtime_ns}"


def _write(source: Path, folder: Path) -> None:
    """All files of the model, into an empty folder."""
    import torch

    try:
        # reads weights only, no code
        saved = torch.load(source, map_location="cpu", weights_only=True)
        dims, weights = saved["dims"], saved["model_state_dict"]
        spec = _spec(dims, weights)
        tokens, tokenizer = _vocabulary(int(dims["n_vocab"]))
        spec.register_vocabulary(tokens)
        spec.config.suppress_ids_begin = [tokens.index("Ġ"), tokens.index("<|endoftext|>")]
        first = tokens.index("<|startoftranscript|>") + 1
        spec.config.lang_ids = list(range(first, tokens.index("<|translate|>")))
        layers, heads = int(dims["n_text_layer"]), int(dims["n_text_head"])
        # as whisper does for a file it does not know by name
        spec.config.alignment_heads = [
            [layer, head] for layer in range(layers // 2, layers) for head in range(heads)
        ]
        spec.validate()
        spec.optimize(quantization="float16")
    except OSError:
        raise
    except (
        Exception
    ) as error:  # a damaged file fails in unpickling, in the zip, in the names or the shapes
        raise EngineUnavailableError(
            f"{source.name} is no Whisper model that can be converted ({type(error).__name__}: {str(error)[:200]}). "
            "Download it again."
        ) from error
    spec.save(str(folder))
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer, ensure_ascii=False), "utf-8")
    settings = {"feature_size": int(dims["n_mels"]), "chunk_length": 30, "sampling_rate": 16_000}
    (folder / "preprocessor_config.json").write_text(json.dumps(settings), "utf-8")


def _spec(dims: Mapping[str, int], weights: Mapping[str, Any]) -> Any:
    """The weights under CTranslate2's names."""
    import numpy as np
    from ctranslate2.specs import WhisperSpec

    spec = WhisperSpec(
        dims["n_audio_layer"], dims["n_audio_head"], dims["n_text_layer"], dims["n_text_head"]
    )

    def weight(name: str) -> Any:
        return weights[name].float().numpy()

    def norm(into: Any, name: str) -> None:
        into.gamma, into.beta = weight(f"{name}.weight"), weight(f"{name}.bias")

    def linear(into: Any, *names: str) -> None:
        """Several layers over the same input become one; a missing bias (that of keys) is zeros."""
        into.weight = np.concatenate([weight(f"{name}.weight") for name in names])
        into.bias = np.concatenate(
            [
                weight(f"{name}.bias")
                if f"{name}.bias" in weights
                else np.zeros(len(weights[f"{name}.weight"]), np.float32)
                for name in names
            ]
        )

    def block(into: Any, name: str) -> None:
        attention = into.self_attention
        norm(attention.layer_norm, f"{name}.attn_ln")
        linear(attention.linear[0], *(f"{name}.attn.{part}" for part in ("query", "key", "value")))
        linear(attention.linear[1], f"{name}.attn.out")
        norm(into.ffn.layer_norm, f"{name}.mlp_ln")
        linear(into.ffn.linear_0, f"{name}.mlp.0")
        linear(into.ffn.linear_1, f"{name}.mlp.2")

    encoder, decoder = spec.encoder, spec.decoder
    for conv, name in ((encoder.conv1, "conv1"), (encoder.conv2, "conv2")):
        conv.weight, conv.bias = weight(f"encoder.{name}.weight"), weight(f"encoder.{name}.bias")
    encoder.position_encodings.encodings = weight("encoder.positional_embedding")
    norm(encoder.layer_norm, "encoder.ln_post")
    for number, layer in enumerate(encoder.layer):
        block(layer, f"encoder.blocks.{number}")

    decoder.embeddings.weight = weight("decoder.token_embedding.weight")
    decoder.projection.weight = decoder.embeddings.weight
    decoder.position_encodings.encodings = weight("decoder.positional_embedding")
    norm(decoder.layer_norm, "decoder.ln")
    for number, layer in enumerate(decoder.layer):
        name = f"decoder.blocks.{number}"
        block(layer, name)
        norm(layer.attention.layer_norm, f"{name}.cross_attn_ln")
        linear(layer.attention.linear[0], f"{name}.cross_attn.query")
        linear(
            layer.attention.linear[1], *(f"{name}.cross_attn.{part}" for part in ("key", "value"))
        )
        linear(layer.attention.linear[2], f"{name}.cross_attn.out")
    return spec


def _vocabulary(size: int) -> tuple[list[str], dict[str, Any]]:
    """All tokens in order, and the tokenizer as the tokenizers library reads it."""
    from whisper.tokenizer import get_tokenizer

    multilingual = size >= BASE_VOCABULARY + 100  # whisper's own test
    tokenizer = get_tokenizer(
        multilingual,
        num_languages=size - BASE_VOCABULARY - int(multilingual),
    )
    encoding = tokenizer.encoding
    letters = _letters()
    ranks: dict[bytes, int] = encoding._mergeable_ranks  # tiktoken shows its table nowhere else
    words = {"".join(letters[byte] for byte in token): rank for token, rank in ranks.items()}
    special = {name: encoding.encode_single_token(name) for name in encoding.special_tokens_set}
    named = {number: name for name, number in (words | special).items()}
    tokens = [named[number] for number in range(size)]
    merges = [
        ["".join(letters[byte] for byte in half) for half in _halves(token, rank, ranks)]
        for token, rank in sorted(ranks.items(), key=lambda item: item[1])
        if len(token) > 1
    ]
    level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True}
    return tokens, {
        "version": "1.0",
        "added_tokens": [
            {
                "id": number,
                "content": name,
                "single_word": False,
                "lstrip": False,
                "rstrip": False,
                "normalized": False,
                "special": True,
            }
            for name, number in sorted(special.items(), key=lambda item: item[1])
        ],
        "pre_tokenizer": {**level, "use_regex": True},
        "decoder": {**level, "use_regex": True},
        "model": {"type": "BPE", "vocab": words, "merges": merges},
    }


def _letters() -> list[str]:
    """A printable letter for each byte, as GPT-2's byte-level vocabulary writes them: the rest moved behind 255."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    moved = iter(range(256, 512))
    return [chr(byte) if byte in printable else chr(next(moved)) for byte in range(256)]


def _halves(token: bytes, rank: int, ranks: Mapping[bytes, int]) -> tuple[bytes, bytes]:
    """The two tokens that merge into this one: what is left when only earlier merges are made."""
    parts = [bytes([byte]) for byte in token]
    while len(parts) > 2:
        best = min(range(len(parts) - 1), key=lambda at: ranks.get(parts[at] + parts[at + 1], rank))
        parts[best : best + 2] = [parts[best] + parts[best + 1]]
    return parts[0], parts[1]
