"""What can be downloaded, from whom, how large, under which licence, and how it is checked.

Nothing here is fetched without a click. Checksums are the publishers' own: Whisper's stand in its release, Piper's in
the index of its voices.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

_WHISPER = "https://openaipublic.azureedge.net/main/whisper/models"
_PIPER = "https://huggingface.co/rhasspy/piper-voices/resolve/v1.0.0"
_CHECKPOINTS = "https://huggingface.co/datasets/rhasspy/piper-checkpoints/resolve/main"


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """One file of a model.

    Attributes:
        url: Where it is.
        path: Where it goes, relative to the models folder.
        size_bytes: Its size; what the server says wins.
        checksum: ``algorithm:hex``, with sha256, md5, or git-sha1 (SHA-1 of a git blob).
    """

    url: str
    path: str
    size_bytes: int
    checksum: str


@dataclass(frozen=True, slots=True)
class Entry:
    """One model that can be downloaded."""

    id: str
    kind: Literal["whisper", "piper", "base"]
    title: str
    about: str
    language: str
    licence: str
    licence_url: str
    files: tuple[RemoteFile, ...]

    @property
    def size_bytes(self) -> int:
        """Of all its files."""
        return sum(file.size_bytes for file in self.files)


def _whisper(name: str, sha256: str, size_bytes: int, about: str, language: str = "") -> Entry:
    return Entry(
        id=f"whisper-{name}",
        kind="whisper",
        title=f"Whisper {name}",
        about=about,
        language=language or "99 languages",
        licence="MIT",
        licence_url="https://github.com/openai/whisper/blob/main/LICENSE",
        files=(
            RemoteFile(
                f"{_WHISPER}/{sha256}/{name}.pt",
                f"whisper/{name}.pt",
                size_bytes,
                f"sha256:{sha256}",
            ),
        ),
    )


def _piper(
    voice: str,
    title: str,
    language: str,
    licence: str,
    model: tuple[int, str],
    settings: tuple[int, str],
) -> Entry:
    code, name, quality = voice.split("-")
    base = f"{_PIPER}/{code[:2]}/{code}/{name}/{quality}"
    return Entry(
        id=f"piper-{voice}",
        kind="piper",
        title=title,
        about=f"Piper voice, {quality} quality, 22 kHz",
        language=language,
        licence=licence,
        licence_url=f"{base}/MODEL_CARD",
        files=(
            RemoteFile(f"{base}/{voice}.onnx.json", f"piper/{voice}.onnx.json", *settings),
            RemoteFile(f"{base}/{voice}.onnx", f"piper/{voice}.onnx", *model),
        ),
    )


CATALOGUE: tuple[Entry, ...] = (
    _whisper(
        "tiny",
        "65147644a518d12f04e32d6f3b26facc3f8dd46e5390956a9424a650c0ce22b9",
        75_572_083,
        "Fastest; fine for clear English",
    ),
    _whisper(
        "base",
        "ed3a0b6b1c0edf879ad9b11b1af5a0e6ab5db9205f891f668f8b0e6c6326e34e",
        145_262_807,
        "Good on any computer; the default",
    ),
    _whisper(
        "small",
        "9ecf779972d90ba49c06d968637d720dd632c55bbf19d441fb42bf17a411e794",
        483_617_219,
        "Better with accents and Japanese; wants a fast CPU or a GPU",
    ),
    _whisper(
        "large-v3-turbo",
        "aff26ae408abcba5fbf8813c21e62b0941638c5f6eebfb145be0c9839262a19a",
        1_617_941_637,
        "Best; for a GPU with 6 GB",
    ),
    _piper(
        "en_US-amy-medium",
        "Amy (US)",
        "English",
        "see its model card",
        (63_201_294, "md5:778d28aeb95fcdf8a882344d9df142fc"),
        (4_882, "md5:7f37dadb26340c90ebc8088e0b252310"),
    ),
    _piper(
        "en_US-lessac-medium",
        "Lessac (US)",
        "English",
        "Blizzard 2013: research; see its model card",
        (63_201_294, "sha256:5efe09e69902187827af646e1a6e9d269dee769f9877d17b16b1b46eeaaf019f"),
        (4_885, "md5:c1f2b7bddefe113f3255ff9ef234cfd3"),
    ),
    _piper(
        "en_US-ryan-medium",
        "Ryan (US)",
        "English",
        "see its model card",
        (63_201_294, "sha256:abf4c274862564ed647ba0d2c47f8ee7c9b717d27bdad9219100eb310db4047a"),
        (4_883, "md5:f173a2b5202b3e4128ccc3ed8195306c"),
    ),
    _piper(
        "en_GB-alba-medium",
        "Alba (Scotland)",
        "English",
        "see its model card",
        (63_201_294, "sha256:401369c4a81d09fdd86c32c5c864440811dbdcc66466cde2d64f7133a66ad03b"),
        (4_888, "git-sha1:c0969252c640fd7c2765baa62936a1106ca856d7"),
    ),
    _piper(
        "en_GB-alan-medium",
        "Alan (Britain)",
        "English",
        "see its model card",
        (63_201_294, "sha256:0a309668932205e762801f1efc2736cd4b0120329622adf62be09e56339d3330"),
        (4_888, "git-sha1:31f864659bfb7678af373cf4e58a7a0866ff52af"),
    ),
    Entry(
        id="base-en_US-lessac-medium",
        kind="base",
        title="Base: Lessac (US), medium",
        about="Where a full training starts from: far sooner good than from nothing. 22 kHz",
        language="English; fair for related languages",
        licence="Blizzard 2013: research; see its model card",
        licence_url=f"{_PIPER}/en/en_US/lessac/medium/MODEL_CARD",
        files=(
            RemoteFile(
                f"{_CHECKPOINTS}/en/en_US/lessac/medium/epoch%3D2164-step%3D1355540.ckpt",
                "base/en_US-lessac-medium.ckpt",
                845_898_328,
                "sha256:ab7e5b8dab40f834b7cc58ae4ad7b7009c954b901e4ddbb784bbe11ce379a1cd",
            ),
        ),
    ),
)
