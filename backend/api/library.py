"""Models of the catalogue and voices on disk."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path as FilePath
from typing import Annotated, BinaryIO

from fastapi import APIRouter, Depends, File, Form, Path, UploadFile

from backend.api.errors import FAILURES
from backend.api.state import Services, services
from backend.contracts.entities import ModelInfo, VoiceInfo
from backend.contracts.errors import InvalidInputError, TooLargeError
from backend.library.voices import LARGEST_MODEL_BYTES, LARGEST_SETTINGS_BYTES

router = APIRouter(prefix="/api", tags=["library"], responses=FAILURES)

Running = Annotated[Services, Depends(services)]
ModelId = Annotated[str, Path(min_length=1, max_length=128)]


@router.get("/models")
async def list_models(running: Running) -> list[ModelInfo]:
    """What can be downloaded, and how much of it is here."""
    return await running.downloads.list()


@router.get("/models/{model_id}")
async def get_model(model_id: ModelId, running: Running) -> ModelInfo:
    """One model of the catalogue."""
    return await running.downloads.get(model_id)


@router.post("/models/{model_id}/download", status_code=202)
async def download_model(model_id: ModelId, running: Running) -> ModelInfo:
    """Begin or go on with a download; follow it by `download.progress` and `download.finished`."""
    return await running.downloads.start(model_id)


@router.post("/models/{model_id}/cancel")
async def cancel_download(model_id: ModelId, running: Running) -> ModelInfo:
    """Stop a download; what came is kept and it can go on later."""
    return await running.downloads.cancel(model_id)


@router.delete("/models/{model_id}")
async def delete_model(model_id: ModelId, running: Running) -> ModelInfo:
    """Remove a downloaded model, or what came of it."""
    return await running.downloads.delete(model_id)


@router.post("/voices/import", status_code=201)
async def import_voice(
    model: Annotated[UploadFile, File(description="The voice's .onnx.")],
    settings: Annotated[UploadFile, File(description="Its .onnx.json.")],
    running: Running,
    name: Annotated[
        str, Form(max_length=100, description="What to call it; empty = the file's name.")
    ] = "",
) -> VoiceInfo:
    """Bring in a Piper voice; it is checked before anything loads it."""
    filename = FilePath((model.filename or "").replace("\\", "/")).name
    if not name and not filename:
        raise InvalidInputError("The voice has no name: give one in the field `name`.")
    folder = await asyncio.to_thread(running.voices.new_upload)
    try:
        await asyncio.to_thread(_keep, model.file, folder / "voice.onnx", LARGEST_MODEL_BYTES)
        await asyncio.to_thread(
            _keep, settings.file, folder / "voice.onnx.json", LARGEST_SETTINGS_BYTES
        )
        return await running.voices.bring_in(
            folder / "voice.onnx", folder / "voice.onnx.json", name or filename
        )
    finally:
        await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)


@router.delete("/voices/{name}", status_code=204)
async def delete_voice(
    name: Annotated[str, Path(min_length=1, max_length=100)], running: Running
) -> None:
    """Delete a Piper voice from disk."""
    await running.voices.delete(name)


def _keep(source: BinaryIO, target: FilePath, limit_bytes: int) -> None:
    left = limit_bytes
    with target.open("wb") as out:
        while piece := source.read(1 << 20):
            left -= len(piece)
            if left < 0:
                raise TooLargeError(
                    f"The file is larger than {limit_bytes >> 20} MiB, more than any Piper voice."
                )
            out.write(piece)
