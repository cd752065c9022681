"""Live2D models as Open-LLM-VTuber clients are told of them: a client draws the model itself, from /live2d-models.

Clients choose a face by its number in the model's own list, so that list is what `emotionMap` and the numbers that come with a
sentence refer to, however the rig calls its faces.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, unquote

from backend.avatar import live2d
from backend.avatar.cues import ALIKE, read_expression
from backend.avatar.naming import usable
from backend.avatar.rigs import Known, Rigs
from backend.contracts.entities import Character
from backend.contracts.errors import AppError
from backend.core.workers import run_in_thread

FOLDER = "/live2d-models"
PICTURES = (".png", ".jpg", ".jpeg", ".webp")

WORDS = ("anger", "disgust", "fear", "sadness", "smirk", "surprise")
"""More words that models of language write for faces, as that project's own maps have them."""


@dataclass(frozen=True, slots=True)
class ClientModel:
    """What a client draws.

    Attributes:
        info: `model_info`; None when the character has no Live2D model.
        numbers: The rig's names of faces, small, to the model's numbers.
    """

    info: dict[str, Any] | None = None
    numbers: Mapping[str, int] = field(default_factory=dict)

    def face(self, name: str) -> int | str | None:
        """What a sentence brings for an expression; None = nothing that this model has."""
        return name if self.info is None else self.numbers.get(name.casefold())


NO_MODEL = ClientModel()


async def model_of(rigs: Rigs, character: Character) -> ClientModel:
    """The Live2D model of a character; without one, or with a broken one, `NO_MODEL`."""
    await rigs.refresh()
    known = rigs.of(character)
    file = model_file(known)
    if file is None or known.folder is None:
        return NO_MODEL
    try:
        model = await run_in_thread(live2d.look, known.folder / file)
    except AppError:
        return NO_MODEL  # it was changed in this moment; the rig says what is wrong with it
    numbers = _numbers(model, known)
    words = {word: known.faces.get(word) or read_expression(known, word) for word in _words(known)}
    info = {
        "name": known.rig.id,
        "description": known.rig.title,
        "url": f"{FOLDER}/{known.rig.id}/{quote(file)}",
        "kScale": 0.5,
        "initialXshift": 0,
        "initialYshift": 0,
        "kXOffset": 1150,
        "idleMotionGroupName": model.idle_group or "Idle",
        "emotionMap": {
            word: numbers[face.casefold()]
            for word, face in words.items()
            if face is not None and face.casefold() in numbers
        },
        "tapMotions": _tap_motions(model),
    }
    return ClientModel(info, numbers)


def listed(rigs: Rigs) -> dict[str, Any]:
    """All Live2D models, as GET /live2d-models/info tells them."""
    found = []
    for known in rigs.all():
        file = model_file(known)
        if file is None or known.folder is None:
            continue
        rig_id = known.rig.id
        picture = next(
            (
                f"{FOLDER}/{rig_id}/{rig_id}{ending}"
                for ending in PICTURES
                if (known.folder / f"{rig_id}{ending}").is_file()
            ),
            None,
        )
        path = f"{FOLDER}/{rig_id}/{quote(file)}"
        found.append({"name": rig_id, "avatar": picture, "model_path": path})
    return {"type": "live2d-models/info", "count": len(found), "characters": found}


def model_file(known: Known) -> str | None:
    """The model3.json of a rig, below its folder; None when it is no Live2D model, or a broken one.

    Clients have a Cubism core of their own: that ours is missing does not matter to them.
    """
    if known.rig.kind != "live2d" or not known.rig.url:
        return None
    return unquote(known.rig.url.partition("/files/")[2]) or None


def _numbers(model: live2d.Model, known: Known) -> dict[str, int]:
    own: dict[str, int] = {}
    for number, name in enumerate(model.expressions):
        own.setdefault(usable(name).casefold(), number)
    return {face: own[face] for face in known.faces if face in own}


def _words(known: Known) -> list[str]:
    alike = [word for group in ALIKE for word in group]
    return list(dict.fromkeys([*known.faces, *known.aliases, *alike, *WORDS]))


def _tap_motions(model: live2d.Model) -> dict[str, dict[str, int]]:
    """What a tap on a part of the picture plays: motions made for taps, else any that is not for idling."""
    groups = list(dict.fromkeys(motion.group for motion in model.motions))
    active = [group for group in groups if group != model.idle_group]
    for_taps = [group for group in active if group.casefold().startswith("tap")] or active
    if not for_taps:
        return {}
    return {area.id: dict.fromkeys(for_taps, 1) for area in model.hit_areas}
