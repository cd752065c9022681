"""Training voices: jobs, what they have learned so far, and the voices that come of them."""

from __future__ import annotations

import asyncio
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Header, Path, Query
from fastapi.responses import Response
from pydantic import BaseModel, Field, StringConstraints

from backend.api.bodies import Body, Text
from backend.api.errors import FAILURES
from backend.api.ranges import ranged
from backend.api.state import Services, services
from backend.contracts.entities import STAGE
from backend.contracts.training import (
    BaseFile,
    Checkpoint,
    Job,
    JobKind,
    LossPoint,
    TrainerName,
    VoiceCard,
)
from backend.playback.player import SpokenPiece
from backend.training import bases
from backend.training.trainings import LONGEST_TEXT, TrainRequest

router = APIRouter(prefix="/api/voice", tags=["training"], responses=FAILURES)

Running = Annotated[Services, Depends(services)]
JobId = Annotated[str, Path(min_length=1, max_length=64)]
CheckpointId = Annotated[
    str,
    Path(min_length=1, max_length=160, description="<job id>:<name>, as in the list."),
]
Short = Annotated[Text, StringConstraints(max_length=100)]

LARGEST_SEED = 2**31 - 1


class BudgetBody(Body):
    """When to stop; the first limit that is reached."""

    seconds: float | None = Field(None, description="Seconds of training steps.")
    steps: int | None = Field(None, description="Training steps.")


class TrainBody(Body):
    """A voice to train."""

    name: Short = Field(description="What the voice is called.", examples=["hoshi-v4"])
    speaker: Short = Field("", description="Train on all accepted clips of this speaker …")
    clip_ids: list[Annotated[int, Field(ge=1, le=2**63 - 1)]] | None = Field(
        None, max_length=20_000, description="… or on exactly these clips."
    )
    trainer: TrainerName = Field(
        "quick",
        description="quick: minutes on any CPU. vits: studio quality, wants a GPU.",
    )
    budget: BudgetBody | None = Field(None, description="None = what the settings say.")
    character_id: Short = Field("", description="Give the finished voice to this character.")
    rate_hz: Literal[16000, 22050] = 22050
    language: Short = Field("", description="espeak voice; empty = the speaker's.")
    base: Annotated[Text, StringConstraints(max_length=300)] = Field(
        "",
        description='Checkpoint to start from, a file in the models folder; empty = the shipped one, "none" = from scratch.',
    )
    base_sha256: Short = Field("", description="Its expected digest; empty = not checked.")
    allow_unsafe_base: Short = Field(
        "", description="SHA-256 of a base in the old pickle format that you trust."
    )
    seed: int = Field(1234, ge=0, le=LARGEST_SEED)
    test_sentence: Annotated[Text, StringConstraints(max_length=LONGEST_TEXT)] = Field(
        "", description="What every checkpoint says; empty = one in its language."
    )
    options: dict[Short, str | int | float | bool | None] | None = Field(
        None, description="Further settings of the trainer, see docs/training.md."
    )


class SayBody(Body):
    """A text for a checkpoint to speak."""

    text: Annotated[Text, StringConstraints(min_length=1, max_length=LONGEST_TEXT)]
    play: bool = Field(False, description="Also play it on the stage's output.")


class ExportBody(Body):
    """What a checkpoint's voice is to be called."""

    name: Short = Field("", description="Empty = the training's name and the step.")


class RestoreBody(Body):
    """How far to train on."""

    budget: BudgetBody | None = Field(None, description="None = what is left of the old one.")


class JobStarted(BaseModel):
    """A job was queued."""

    job_id: str


class Losses(BaseModel):
    """The loss curve."""

    points: list[LossPoint]


class LogLines(BaseModel):
    """The end of a job's log."""

    lines: list[str]


class BaseDigest(BaseModel):
    """What a person confirms who trusts a file."""

    sha256: str


class Said(BaseModel):
    """Text as sound."""

    url: str
    duration_s: float


@router.post("/train", status_code=202)
async def train(body: TrainBody, running: Running) -> JobStarted:
    """Queue the training of a voice; follow it by `training.*` events and its job."""
    budget = body.budget or BudgetBody()
    wanted = TrainRequest(
        name=body.name,
        speaker=body.speaker,
        clip_ids=tuple(body.clip_ids or ()),
        trainer=body.trainer,
        seconds=budget.seconds,
        steps=budget.steps,
        character_id=body.character_id,
        rate_hz=body.rate_hz,
        language=body.language,
        base=body.base,
        base_sha256=body.base_sha256,
        allow_unsafe_base=body.allow_unsafe_base,
        seed=body.seed,
        test_sentence=body.test_sentence,
        options=body.options or {},
    )
    return JobStarted(job_id=(await running.trainings.start(wanted)).id)


@router.get("/bases")
async def list_bases(running: Running) -> list[BaseFile]:
    """Checkpoints that a full training can start from: files in the models folder's `base`."""
    return await asyncio.to_thread(bases.list_bases, running.trainings.options.models_dir)


@router.get("/bases/digest")
async def digest_of_base(
    path: Annotated[str, Query(min_length=1, max_length=300)], running: Running
) -> BaseDigest:
    """SHA-256 of such a file, for `allow_unsafe_base`; takes seconds."""
    models_dir = running.trainings.options.models_dir
    return BaseDigest(sha256=await asyncio.to_thread(bases.digest, models_dir, path))


@router.get("/jobs")
async def list_jobs(
    running: Running,
    kind: Annotated[JobKind | Literal[""], Query(description="Only this kind.")] = "",
    speaker: Annotated[str, Query(max_length=100, description="Only of this speaker.")] = "",
) -> list[Job]:
    """Jobs of voice training, the newest first."""
    return await running.training.history(kind or None, speaker or None)


@router.get("/jobs/{job_id}")
async def get_job(job_id: JobId, running: Running) -> Job:
    """One job."""
    return await running.training.get(job_id)


@router.delete("/jobs/{job_id}", status_code=204)
async def delete_job(job_id: JobId, running: Running) -> None:
    """Delete a job that has ended, with its checkpoints and samples; its voice stays."""
    await running.training.delete(job_id)


@router.post("/jobs/{job_id}/pause")
async def pause_job(job_id: JobId, running: Running) -> Job:
    """Have the trainer wait before its next step."""
    return await running.training.pause(job_id)


@router.post("/jobs/{job_id}/resume")
async def resume_job(job_id: JobId, running: Running) -> Job:
    """Go on after a pause, or after an interruption from the last checkpoint."""
    return await running.training.resume(job_id)


@router.post("/jobs/{job_id}/stop")
async def stop_job(job_id: JobId, running: Running) -> Job:
    """Save and end; what was learned stays and can be resumed or exported."""
    return await running.training.stop(job_id)


@router.post("/jobs/{job_id}/sample")
async def sample_job(job_id: JobId, running: Running) -> Job:
    """Have the running training speak its test sentence now; `training.sample` tells when it has."""
    return await running.training.ask(job_id, "sample")


@router.post("/jobs/{job_id}/checkpoint")
async def checkpoint_job(job_id: JobId, running: Running) -> Job:
    """Have the running training save a checkpoint now; `training.checkpoint` tells when it has."""
    return await running.training.ask(job_id, "checkpoint")


@router.get("/jobs/{job_id}/losses")
async def losses_of_job(
    job_id: JobId,
    running: Running,
    points: Annotated[int, Query(ge=2, le=4096, description="At most so many.")] = 600,
) -> Losses:
    """The loss curve of a training."""
    return Losses(points=await running.trainings.losses(job_id, points))


@router.get("/jobs/{job_id}/log")
async def log_of_job(
    job_id: JobId,
    running: Running,
    tail: Annotated[int, Query(ge=1, le=2000, description="Last lines.")] = 200,
) -> LogLines:
    """The end of what the trainer printed."""
    return LogLines(lines=await running.training.log(job_id, tail))


@router.get(
    "/jobs/{job_id}/pictures/{which}",
    response_class=Response,
    responses={200: {"description": "The picture.", "content": {"image/png": {}}}},
)
async def picture_of_job(
    job_id: JobId, which: Literal["target", "made"], running: Running
) -> Response:
    """A spectrogram: of a held-back clip (target), or of the same words as the training speaks them (made)."""
    data = await running.trainings.picture(job_id, which)
    return Response(data, media_type="image/png", headers={"Cache-Control": "no-cache"})


@router.get("/checkpoints")
async def list_checkpoints(
    running: Running,
    job_id: Annotated[str, Query(max_length=64, description="Only of this job.")] = "",
) -> list[Checkpoint]:
    """Checkpoints with their samples and scores; those of one training newest first."""
    return await running.trainings.checkpoints(job_id)


@router.post("/checkpoints/{checkpoint_id}/sample")
async def say_with_checkpoint(checkpoint_id: CheckpointId, body: SayBody, running: Running) -> Said:
    """Speak any text with a checkpoint; the first time it is exported for that, which takes some seconds."""
    url, audio = await running.trainings.say(checkpoint_id, body.text)
    if body.play:
        running.player.play_again(
            [SpokenPiece(1, body.text, audio, url)], url.rpartition("/")[2], STAGE
        )
    return Said(url=url, duration_s=round(audio.duration_s, 3))


@router.post("/checkpoints/{checkpoint_id}/export", status_code=202)
async def export_checkpoint(
    checkpoint_id: CheckpointId, running: Running, body: ExportBody | None = None
) -> JobStarted:
    """Make a voice of a checkpoint: it is exported, verified and kept; follow the job."""
    job = await running.trainings.export(checkpoint_id, body.name if body else "")
    return JobStarted(job_id=job.id)


@router.post("/checkpoints/{checkpoint_id}/restore", status_code=202)
async def restore_checkpoint(
    checkpoint_id: CheckpointId, running: Running, body: RestoreBody | None = None
) -> Job:
    """Train on from a checkpoint, as a new job; the old one keeps what it has."""
    budget = (body.budget if body else None) or BudgetBody()
    return await running.trainings.restore(checkpoint_id, budget.seconds, budget.steps)


@router.delete("/checkpoints/{checkpoint_id}", status_code=204)
async def delete_checkpoint(checkpoint_id: CheckpointId, running: Running) -> None:
    """Delete a checkpoint; never one that its training still needs."""
    await running.trainings.forget_checkpoint(checkpoint_id)


@router.get(
    "/samples/{job_id}/{file}",
    response_class=Response,
    responses={
        200: {"description": "The sound.", "content": {"audio/wav": {}}},
        206: {"description": "The part asked for with Range.", "content": {"audio/wav": {}}},
    },
)
async def sample_sound(
    job_id: JobId,
    file: Annotated[str, Path(min_length=1, max_length=124)],
    running: Running,
    range_header: Annotated[str, Header(alias="Range", max_length=200)] = "",
) -> Response:
    """What a training or a checkpoint said, whole or in part (Range)."""
    path = await running.trainings.sample_path(job_id, file)
    data = await asyncio.to_thread(path.read_bytes)
    return ranged(data, range_header, "audio/wav", {"Cache-Control": "private, max-age=3600"})


@router.post("/samples/{job_id}/{file}/play")
async def play_sample(
    job_id: JobId,
    file: Annotated[str, Path(min_length=1, max_length=124)],
    running: Running,
) -> Said:
    """Play what a training or a checkpoint said on the stage's output."""
    path = await running.trainings.sample_path(job_id, file)
    audio = await running.trainings.sample_sound(path)
    url = f"/api/voice/samples/{job_id}/{path.name}"
    running.player.play_again([SpokenPiece(1, "", audio, url)], path.name, STAGE)
    return Said(url=url, duration_s=round(audio.duration_s, 3))


@router.get("/cards/{voice}")
async def voice_card(
    voice: Annotated[str, Path(min_length=1, max_length=100)], running: Running
) -> VoiceCard:
    """Who agreed to a voice that was trained here, from what it was made, and how good it is."""
    return await asyncio.to_thread(running.voices.card, voice)
