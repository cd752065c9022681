"""Piper voices that a user brings along: checked, copied in, listed in the table ``models``, and deleted.

A voice is refused before its graph is loaded when it reaches outside its own file or needs code of its own; the check
runs in the engine's process, on a copy in a waiting folder, and only a voice that passed moves into ``models/piper``.
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
import shutil
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from uuid import uuid4

from backend.contracts.entities import ModelRecord, VoiceInfo
from backend.contracts.errors import (
    ConflictError,
    EngineUnavailableError,
    InvalidInputError,
    NotFoundError,
)
from backend.contracts.events import ModelRemoved, ModelSaved
from backend.contracts.training import VoiceCard
from backend.core.bus import EventBus
from backend.core.clock import now
from backend.storage import models as rows
from backend.storage.database import Database

logger = logging.getLogger(__name__)

LARGEST_MODEL_BYTES = 400 << 20
LARGEST_SETTINGS_BYTES = 1 << 20
_NAME = re.compile(r"[A-Za-z0-9][\w.+-]{0,79}", re.ASCII)
_RESERVED = re.compile(r"(?i)(con|prn|aux|nul|com\d|lpt\d)(\..*)?")

Inspect = Callable[[Path], Awaitable[VoiceInfo]]
"""Looks at a voice in the engine's process; raises EngineUnavailableError with the reason when it is refused."""


class VoiceLibrary:
    """The Piper voices in ``models/piper``; all methods are for the backend's loop."""

    def __init__(
        self, bus: EventBus, database: Database, models_dir: Path, inspect: Inspect
    ) -> None:
        self._bus = bus
        self._database = database
        self._folder = models_dir / "piper"
        self._waiting = models_dir / "downloads"
        self._inspect = inspect
        self._bringing = (
            asyncio.Lock()
        )  # between the look for a name and the move nobody else takes it

    def new_upload(self) -> Path:
        """A fresh folder to write an upload into, outside of what engines look at."""
        folder = self._waiting / f"import-{uuid4().hex}"
        folder.mkdir(parents=True)
        return folder

    async def bring_in(
        self,
        model: Path,
        settings: Path,
        name: str,
        *,
        details: Mapping[str, object] | None = None,
        card: Mapping[str, object] | None = None,
    ) -> VoiceInfo:
        """Check the uploaded pair and make it a voice.

        Args:
            model: The ``.onnx`` in a folder of `new_upload`; the folder is gone afterwards.
            settings: Its ``.onnx.json`` beside it.
            name: What the voice is to be called; a file name without its end.
            details: What is kept with its row in ``models``.
            card: A `VoiceCard` to lie beside the voice.

        Raises:
            InvalidInputError: The name, the settings or the graph cannot be used, with the reason.
            ConflictError: There is a voice of that name.
        """
        async with self._bringing:
            return await self._bring_in(model, settings, name, details=details, card=card)

    async def _bring_in(
        self,
        model: Path,
        settings: Path,
        name: str,
        *,
        details: Mapping[str, object] | None,
        card: Mapping[str, object] | None,
    ) -> VoiceInfo:
        try:
            name = checked_name(name)
            target = self._folder / f"{name}.onnx"
            if await asyncio.to_thread(target.exists):
                raise ConflictError(
                    f"There is a voice {name!r} already. Give this one another name."
                )
            await asyncio.to_thread(_check_settings, settings)
            pair = model.with_name(f"{name}.onnx")
            await asyncio.to_thread(model.replace, pair)
            await asyncio.to_thread(settings.replace, pair.with_name(f"{name}.onnx.json"))
            try:
                info = await self._inspect(pair)
            except EngineUnavailableError as error:
                raise InvalidInputError(f"{name}: {error.message}") from error
            if info.problem:
                raise InvalidInputError(f"{name}: {info.problem}")
            await asyncio.to_thread(self._move, pair, target, card)
        finally:
            await asyncio.to_thread(shutil.rmtree, model.parent, ignore_errors=True)
        moment = now()
        record = ModelRecord(
            id=f"piper-{name}",
            name=name,
            kind="piper",
            model_path=f"piper/{name}.onnx",
            status="ready",
            details=dict(details or {}),
            created_at=moment,
            updated_at=moment,
        )
        await self._database.write(lambda c: rows.put(c, record), durable=True)
        self._bus.publish(ModelSaved(model_id=record.id, name=name, path=str(target)))
        return info.model_copy(update={"name": name, "path": str(target)})

    async def delete(self, name: str) -> None:
        """Remove a voice and its settings from disk.

        Raises:
            NotFoundError: There is no such voice in the models folder.
        """
        name = checked_name(name)
        if not await asyncio.to_thread(self._remove, name):
            raise NotFoundError(f"There is no Piper voice {name!r} in {self._folder}.")
        await self._database.write(lambda c: rows.delete(c, f"piper-{name}"), durable=True)
        self._bus.publish(ModelRemoved(model_id=f"piper-{name}", name=name))

    def exists(self, name: str) -> bool:
        """Whether a voice of this name lies here, however it is written; looks at the disk."""
        wanted = f"{checked_name(name)}.onnx".casefold()
        return self._folder.is_dir() and any(
            path.name.casefold() == wanted for path in self._folder.iterdir()
        )

    def path(self, name: str) -> Path:
        """Where the voice of this name lies, or would."""
        return (self._folder / f"{checked_name(name)}.onnx").absolute()

    def card(self, name: str) -> VoiceCard:
        """What is known of a voice that was trained here; reads the disk.

        Raises:
            NotFoundError: Nothing is.
        """
        try:
            text = (self._folder / f"{checked_name(name)}.card.json").read_text(encoding="utf-8")
            return VoiceCard.model_validate_json(text)
        except (OSError, ValueError) as error:
            raise NotFoundError(
                f"There is no card of a voice {name[:80]!r}: only voices trained here have one."
            ) from error

    def _move(self, pair: Path, target: Path, card: Mapping[str, object] | None) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        if card is not None:
            text = json.dumps(card, ensure_ascii=False, indent=2) + "\n"
            target.with_name(f"{target.stem}.card.json").write_text(text, encoding="utf-8")
        # The settings first: an engine takes a voice for there when its model is.
        pair.with_name(f"{pair.name}.json").replace(target.with_name(f"{target.name}.json"))
        pair.replace(target)

    def _remove(self, name: str) -> bool:
        found = False
        (self._folder / f"{name}.card.json").unlink(missing_ok=True)
        for path in (self._folder / f"{name}.onnx", self._folder / f"{name}.onnx.json"):
            if path.is_file():
                path.unlink()
                found = True
        return found


def checked_name(name: str) -> str:
    """A voice's name that is safe as a file name on every system.

    Raises:
        InvalidInputError: It is not.
    """
    name = name.removesuffix(".onnx")
    if not _NAME.fullmatch(name) or _RESERVED.fullmatch(name) or ".." in name:
        raise InvalidInputError(
            f"{name[:80]!r} cannot be a voice's name: use letters, digits, - _ + and dots, at most 80."
        )
    return name


def _check_settings(path: Path) -> None:
    try:
        if path.stat().st_size > LARGEST_SETTINGS_BYTES:
            raise InvalidInputError(
                f"The voice's .onnx.json is larger than {LARGEST_SETTINGS_BYTES >> 20} MB; it is none of Piper's."
            )
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise InvalidInputError(
            "The voice's .onnx.json cannot be read as JSON. Choose the file that came with the voice."
        ) from error
    if not isinstance(values, dict) or "audio" not in values:
        raise InvalidInputError(
            "The voice's .onnx.json has no part 'audio': it is none of Piper's."
        )
