"""The shipped base: a network that already speaks many languages, made from engine output only (scripts/make_base_voice.py).

Public names: `load(rate_hz, language) -> QuickNetwork`, `card() -> BaseCard`, `VERSION`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from voice_trainer.quick.network import NetworkConfig, QuickNetwork

VERSION = 1
DROPOUT = 0.2
"""While a voice is trained on the base, twice the base's own: on 0.4 minutes 3.32 instead of 3.39 dB."""

_FOLDER = Path(__file__).parent
WEIGHTS_PATH = _FOLDER / f"quick-base-{VERSION}.safetensors"
CARD_PATH = _FOLDER / f"quick-base-{VERSION}.json"


@dataclass(frozen=True, slots=True)
class BaseCard:
    """What a base is and how it was made.

    Attributes:
        version: Of the base; a voice trained on it records this.
        sha256: Of the weights.
        languages: espeak language of each row of the speaker table.
        config: Of the network in the file (all rates, all its speakers).
    """

    version: int
    sha256: str
    languages: tuple[str, ...]
    config: NetworkConfig


def card() -> BaseCard:
    """Read the card beside the weights."""
    values = json.loads(CARD_PATH.read_text(encoding="utf-8"))
    return BaseCard(
        version=int(values["version"]),
        sha256=str(values["sha256"]),
        languages=tuple(str(row["language"]) for row in values["speakers"]),
        config=NetworkConfig.from_dict(values["network"]),
    )


def load(rate_hz: int, language: str = "en-us", *, speakers: int = 1) -> QuickNetwork:
    """The base as a network for one rate, ready for a new speaker; statistics are still neutral.

    Args:
        rate_hz: 16,000 or 22,050.
        language: espeak voice of the recordings; each new speaker begins as the mean of the base's speakers of this
            language (or of all, if it has none).
        speakers: Rows of the new speaker table.

    Raises:
        ValueError: No such rate.
    """
    from safetensors.torch import load_file

    about = card()
    if rate_hz not in about.config.rates_hz:
        raise ValueError(f"The base speaks at {about.config.rates_hz} Hz, not at {rate_hz}.")
    stored = {name: values.float() for name, values in load_file(WEIGHTS_PATH).items()}
    values = {
        **about.config.as_dict(),
        "rates_hz": (rate_hz,),
        "speakers": speakers,
        "dropout": DROPOUT,
    }
    network = QuickNetwork(NetworkConfig(**values))
    rows = _rows_of(language, about.languages)
    stored["speakers.weight"] = stored["speakers.weight"][rows].mean(dim=0).repeat(speakers, 1)
    wanted = network.state_dict()
    for name in wanted:
        # The statistics are the speaker's, not the base's.
        if name in stored and not name.startswith(("mean_", "std_", "spread_")):
            wanted[name] = stored[name]
    network.load_state_dict(wanted)
    return network


def _rows_of(language: str, languages: tuple[str, ...]) -> list[int]:
    """Rows of speakers of exactly this language, else of its family ("en" of "en-us"), else all."""
    family = language.partition("-")[0]
    for matches in (
        [row for row, name in enumerate(languages) if name == language],
        [row for row, name in enumerate(languages) if name.partition("-")[0] == family],
    ):
        if matches:
            return matches
    return list(range(len(languages)))
