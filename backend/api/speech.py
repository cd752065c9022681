"""Text to sound, sound to text, the sounds of turns, and where the stage is heard."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from typing import Annotated
from uuid import uuid4

from fastapi import APIRouter, Depends, File, Form, Header, Path, Request, UploadFile
from fastapi.responses import Response
from pydantic import BaseModel, ValidationError

from backend.api.bodies import OutputBody, PlayBody, TtsBody, VolumeBody
from backend.api.errors import FAILURES
from backend.api.ranges import ranged
from backend.api.state import Services, services
from backend.api.uploads import read_upload
from backend.audio.wav import read_wav
from backend.contracts.avatar import MouthTime
from backend.contracts.entities import STAGE, Audio, TranscriptSegment, VoiceChoice, VoiceInfo
from backend.contracts.errors import (
    ConflictError,
    EngineUnavailableError,
    ForbiddenError,
    InvalidInputError,
    NotFoundError,
)
from backend.contracts.events import UtteranceTranscribed
from backend.contracts.listening import InputDeviceInfo, ListeningState
from backend.core.sound import decode_audio
from backend.playback.player import SpokenPiece
from backend.storage import turns as turn_rows
from backend.storage.events import Filter

logger = logging.getLogger(__name__)
router = APIRouter(prefix="/api", tags=["speech"], responses=FAILURES)

Running = Annotated[Services, Depends(services)]

SOUND_FILE_BYTES = 200 * 1024 * 1024

MOST_TOLD = 200
"""Sentences of a turn whose mouths are looked up; those after them are read off their sound."""


class PhonemePlace(BaseModel):
    """One phoneme (IPA) and where it lies in the sound."""

    phoneme: str
    start_s: float
    end_s: float


class Spoken(BaseModel):
    """Text as sound."""

    url: str
    engine: str
    voice: str
    duration_s: float
    visemes: list[MouthTime]
    """What the mouth does and when."""
    phonemes: list[PhonemePlace]
    """What is said and when; empty when the engine does not say."""


class Heard(BaseModel):
    """Sound as text."""

    text: str
    language: str
    segments: list[TranscriptSegment]
    engine: str
    duration_s: float


class Output(BaseModel):
    """Where the stage is heard."""

    sink: str
    device: str
    volume: float
    muted: bool
    problem: str


class Playing(BaseModel):
    """How much is played again."""

    sentences: int


class Stopped(BaseModel):
    """Whether something was playing."""

    stopped: bool


class Device(BaseModel):
    """A loudspeaker."""

    name: str
    is_default: bool
    host_api: str


class Devices(BaseModel):
    """What can be played on and listened to, and what is."""

    outputs: list[Device]
    output: Output
    inputs: list[InputDeviceInfo]
    input: ListeningState
    inputs_problem: str
    """Why there are no inputs, in words; empty = nothing is wrong."""


@router.post("/tts")
async def text_to_speech(body: TtsBody, running: Running) -> Spoken:
    """Speak a text; the sound lies at the URL that comes back."""
    voice = await _voice(running, body)
    speech = await running.engines.speech.synthesize(body.text, voice)
    if speech.engine == "silence" and any(char.isalnum() for char in body.text):
        raise EngineUnavailableError(
            "No speech engine could speak this. GET /api/status says which one failed and why."
        )
    sound_id = uuid4().hex
    url = running.sounds.put(sound_id, 1, speech.audio)
    mouth = await running.mouths.of(speech.audio, speech.phonemes)
    if body.play:
        piece = SpokenPiece(1, body.text, speech.audio, url, phonemes=speech.phonemes, mouth=mouth)
        running.player.play_again([piece], sound_id, STAGE)
    return Spoken(
        url=url,
        engine=speech.engine,
        voice=speech.voice,
        duration_s=round(speech.audio.duration_s, 3),
        visemes=list(mouth),
        phonemes=[
            PhonemePlace(phoneme=one.phoneme, start_s=one.start_s, end_s=one.end_s)
            for one in speech.phonemes
        ],
    )


async def _voice(running: Services, body: TtsBody) -> VoiceChoice:
    if isinstance(body.voice, VoiceChoice):
        return body.voice
    if body.voice:
        engine, slash, name = body.voice.partition("/")
        choice = VoiceChoice(engine=engine, name=name) if slash else None
        for known in await running.engines.speech.voices():
            if choice is None and known.name == body.voice:
                return VoiceChoice(engine=known.engine, name=known.name)
            if choice is not None and (known.engine, known.name) == (engine, name):
                return choice
        # An alias is resolved by the chain; a name that is none of both ends in its default voice.
        return choice or VoiceChoice(name=body.voice)
    whose = body.character_id or (await running.chat.conversation(STAGE)).character_id
    return (await running.characters.get(whose)).voice


@router.post("/stt")
async def speech_to_text(
    file: Annotated[UploadFile, File(description="WAV, FLAC, OGG, MP3 …")],
    running: Running,
    language: Annotated[
        str, Form(max_length=16, description="ISO 639-1 code; empty = detect.")
    ] = "",
) -> Heard:
    """Read a sound file."""
    if not running.hearing.is_on:
        raise ConflictError('The module "hear" is switched off; switch it on to have sound read.')
    data = await read_upload(file, SOUND_FILE_BYTES)
    code = language.strip().lower()
    if code and not (code.isascii() and code.isalpha() and 2 <= len(code) <= 3):
        raise InvalidInputError(
            f"language is a code of two letters (en, de, ja), not {language[:16]!r}."
        )
    began_s = time.monotonic()
    name = (file.filename or "the file")[:200]
    audio = await decode_audio(running.host, data, name=name)
    found = await running.engines.hearing.transcribe(audio, code or None)
    running.bus.publish(
        UtteranceTranscribed(
            text=found.text,
            language=found.language,
            engine=found.engine,
            duration_s=round(audio.duration_s, 3),
            elapsed_ms=round((time.monotonic() - began_s) * 1000, 1),
        )
    )
    return Heard(
        text=found.text,
        language=found.language,
        segments=list(found.segments),
        engine=found.engine,
        duration_s=round(audio.duration_s, 3),
    )


@router.get(
    "/audio/{turn_id}/{n}",
    response_class=Response,
    responses={
        200: {"description": "The sound.", "content": {"audio/wav": {}}},
        206: {"description": "The part asked for with Range.", "content": {"audio/wav": {}}},
    },
)
async def sound_of_sentence(
    request: Request,
    turn_id: Annotated[str, Path(min_length=1, max_length=64)],
    n: Annotated[int, Path(ge=0, le=100_000)],
    running: Running,
    range_header: Annotated[str, Header(alias="Range", max_length=200)] = "",
) -> Response:
    """The sound of one sentence of a turn, whole or in part (Range)."""
    if request.scope.get("luma.caller") == "overlay" and not await _is_of_stage(running, turn_id):
        raise ForbiddenError("The overlay token opens the sounds of the stage only.")
    data = await running.sounds.get(turn_id, n)
    return ranged(
        data, range_header, "audio/wav", {"Cache-Control": "private, max-age=3600, immutable"}
    )


async def _is_of_stage(running: Services, turn_id: str) -> bool:
    if running.player.is_effect(turn_id):
        return True
    # The event is stored before the turn is: a sound may be fetched while its turn still runs.
    made = await running.events.search(Filter(types=("speech.ready",), turn_id=turn_id), 1)
    if made:
        return bool(made[0]["data"].get("conversation_id") == STAGE)
    found = await running.database.read(lambda connection: turn_rows.get(connection, turn_id))
    return found is not None and found.conversation_id == STAGE


@router.post("/turns/{turn_id}/play", status_code=202)
async def play_turn(
    turn_id: Annotated[str, Path(min_length=1, max_length=64)],
    running: Running,
    body: PlayBody | None = None,
) -> Playing:
    """Play an earlier turn, or one sentence of it, on the stage's output; never over a live one."""
    found = await running.database.read(lambda connection: turn_rows.get(connection, turn_id))
    if found is None:
        raise NotFoundError(f"There is no turn {turn_id!r}, or it is not kept any more.")
    n = body.n if body else None
    mouths = await _mouths_of(running, turn_id)
    pieces = [
        SpokenPiece(
            sentence.n,
            sentence.text,
            Audio(*read_wav(await running.sounds.get(turn_id, sentence.n))),
            sentence.url,
            mouth=mouths.get(sentence.n, ()),
        )
        for sentence in found.sentences
        if sentence.url is not None and n in (None, sentence.n)
    ]
    if not pieces:
        raise NotFoundError(
            f"Turn {turn_id!r} has no sound{'' if n is None else f' for sentence {n}'}."
        )
    running.player.play_again(pieces, turn_id, found.conversation_id)
    return Playing(sentences=len(pieces))


async def _mouths_of(running: Services, turn_id: str) -> dict[int, tuple[MouthTime, ...]]:
    """The mouths of a turn's sentences as they were told; where none is kept the player reads the sound again."""
    told = await running.events.search(Filter(types=("speech.ready",), turn_id=turn_id), MOST_TOLD)
    found: dict[int, tuple[MouthTime, ...]] = {}
    for event in told:
        data = event["data"]
        with contextlib.suppress(ValidationError):  # written by another version
            found[data["n"]] = tuple(MouthTime.model_validate(one) for one in data.get("mouth", ()))
    return found


@router.post("/audio/stop")
async def stop_playing(running: Running) -> Stopped:
    """Stop what is played again; a live turn is stopped by interrupting its conversation."""
    return Stopped(stopped=running.player.stop_playing_again())


@router.get("/voices")
async def list_voices(running: Running) -> list[VoiceInfo]:
    """Voices on this machine; one that is broken is listed with its problem."""
    return await running.engines.speech.voices()


@router.get("/devices")
async def list_devices(running: Running) -> Devices:
    """Loudspeakers and microphones that can be chosen, and what plays and listens now."""
    inputs: list[InputDeviceInfo] = []
    problem = ""
    try:
        inputs = await running.hearing.devices()
    except EngineUnavailableError as error:
        problem = error.message
    return Devices(
        outputs=[
            Device(name=one.name, is_default=one.is_default, host_api=one.host_api)
            for one in await running.player.devices()
        ],
        output=_output(running),
        inputs=inputs,
        input=running.hearing.state(),
        inputs_problem=problem,
    )


@router.get("/audio/output")
async def get_output(running: Running) -> Output:
    """Where the stage is heard, and how loud."""
    return _output(running)


@router.post("/audio/output")
async def set_output(body: OutputBody, running: Running) -> Output:
    """Choose the loudspeaker, its volume, or silence."""
    if body.device is not None:
        known = {device.name for device in await running.player.devices()}
        if body.device and body.device not in known:
            raise NotFoundError(
                f"There is no loudspeaker {body.device!r}; there are {', '.join(sorted(known)) or 'none'}."
            )
        await running.player.set_device(body.device)
        await _keep(running, {"OUTPUT_DEVICE": body.device})
    return await set_volume(running, body)


async def set_volume(running: Services, body: VolumeBody) -> Output:
    """Change volume or muting; heard within 50 ms."""
    running.player.set_volume(body.volume, muted=body.muted)
    await _keep(running, {"OUTPUT_VOLUME": body.volume, "OUTPUT_MUTED": body.muted})
    return _output(running)


async def _keep(running: Services, values: dict[str, object]) -> None:
    """Remember for the next start what was set."""
    given = {name: value for name, value in values.items() if value is not None}
    if not given:
        return
    try:
        await asyncio.to_thread(running.config.save, given)
    except ConflictError as error:
        # .env or the command line decides at the next start; until then what was asked for holds.
        logger.info("not remembered: %s", error.message)


def _output(running: Services) -> Output:
    player = running.player
    return Output(
        sink=player.sink.name,
        device=player.device,
        volume=player.volume,
        muted=player.is_muted,
        problem=player.problem or running.listeners.problem,
    )
