"""Data for training a voice: speakers, recordings as they came, clips, and what is done with them."""

from __future__ import annotations

import asyncio
from typing import Annotated, Literal, Self
from uuid import uuid4

from fastapi import APIRouter, Depends, Header, Path, Query, Request
from fastapi.responses import Response
from pydantic import Field, StringConstraints, model_validator

from backend.api.bodies import Body, Id, Text
from backend.api.errors import FAILURES
from backend.api.ranges import ranged
from backend.api.state import Services, services
from backend.api.uploads import read_form
from backend.audio.wav import read_wav
from backend.contracts.entities import STAGE, Audio, Wire
from backend.contracts.errors import ConflictError, InvalidInputError
from backend.contracts.training import (
    Clip,
    ClipPage,
    ClipStatus,
    DoctorReport,
    Prompt,
    Recording,
    RoomNoise,
    Speaker,
    Upload,
)
from backend.playback.player import SpokenPiece
from backend.storage.training_data import MOST_IDS, SortedBy, Wanted
from backend.training.clips import LONGEST_TRANSCRIPT, MOST_AT_ONCE
from backend.training.uploads import Label

router = APIRouter(prefix="/api/voice", tags=["voice training"], responses=FAILURES)

MOST_FILES = 5000
LARGEST_ID = 2**53
LONGEST_ID = 15
"""Digits: no number of so many is larger than `LARGEST_ID`, and Python reads them all."""

Running = Annotated[Services, Depends(services)]
SpeakerId = Annotated[str, Path(min_length=1, max_length=64)]
ClipId = Annotated[int, Path(ge=1, le=LARGEST_ID)]
Ids = Annotated[
    tuple[Annotated[int, Field(ge=1, le=LARGEST_ID)], ...],
    Field(min_length=1, max_length=MOST_AT_ONCE),
]
Language = Annotated[Text, StringConstraints(max_length=32)]
Emotion = Annotated[Text, StringConstraints(max_length=64)]
Transcript = Annotated[Text, StringConstraints(max_length=LONGEST_TRANSCRIPT)]
Before = Annotated[bool, Query(description="The sound from before the clip was edited.")]


class SpeakerBody(Body):
    """A new speaker."""

    name: Annotated[Text, StringConstraints(min_length=1, max_length=100)] = Field(
        examples=["Hoshi"]
    )
    language: Language = "en-us"
    synthetic: bool = Field(
        False, description="A machine speaks: no consent of a person is needed."
    )


class SpeakerFields(Body):
    """What may be changed of a speaker; what is left out stays."""

    name: Annotated[Text, StringConstraints(min_length=1, max_length=100)] | None = None
    language: Language | None = None


class ConsentBody(Body):
    """What the person agreed to."""

    statement: Annotated[Text, StringConstraints(min_length=1, max_length=4000)] = Field(
        examples=["This is my own voice; it may be recorded and trained for my stream."]
    )


class ClipFields(Body):
    """What may be changed of a clip; what is left out stays."""

    transcript: Transcript | None = None
    status: ClipStatus | None = None
    emotion: Emotion | None = None
    speaker: Id | None = None
    language: Language | None = None


class ClipsBody(ClipFields):
    """The same change for many clips."""

    ids: Ids


class IdsBody(Body):
    """Some clips."""

    ids: Ids


class TrimBody(Body):
    """Which part of a clip to keep."""

    start_s: float = Field(ge=0, le=3600)
    end_s: float = Field(gt=0, le=3600)

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.end_s <= self.start_s:
            raise ValueError(f"end_s ({self.end_s:g}) must be after start_s ({self.start_s:g})")
        return self


class SplitBody(Body):
    """Where to cut a clip in two."""

    at_s: float = Field(gt=0, le=3600)
    transcripts: tuple[Transcript, Transcript] | None = None


class RecordBody(Body):
    """Which sentence to record, of whom."""

    speaker: Id
    prompt_id: Id
    device: Annotated[Text, StringConstraints(max_length=300)] = Field(
        "", description="Name of a microphone; empty = the system's."
    )


class NoiseBody(Body):
    """Where to listen."""

    device: Annotated[Text, StringConstraints(max_length=300)] = Field(
        "", description="Name of a microphone; empty = the system's."
    )


class KeptAnswer(Wire):
    """The take is a recording now, and is being cut."""

    upload_id: str
    job_id: str


class InputAnswer(Wire):
    """A microphone."""

    name: str
    is_default: bool
    host_api: str = ""


class ProcessBody(Body):
    """Which recordings to cut into clips, and how."""

    upload_ids: Annotated[tuple[Id, ...], Field(min_length=1, max_length=MOST_FILES)]
    speaker: Id | None = Field(None, description="Whose voice it is; none = as each upload says.")
    language: Language = Field("", description="Of all of them; empty = as the speaker's.")
    emotion: Emotion = ""
    denoise: bool = Field(False, description="Lower the steady noise of every clip.")
    transcribe: bool = Field(True, description="Read what has no transcript.")


class DoctorBody(Body):
    """Whose clips to examine."""

    speaker: Id


class JobAnswer(Wire):
    """The job that does it: follow `training.*` events or /api/voice/jobs/{id}."""

    job_id: str


class PromptsAnswer(Wire):
    """Sentences to read aloud."""

    languages: tuple[str, ...] = Field(description="Languages that there are lists for.")
    prompts: tuple[Prompt, ...]


class UploadAnswer(Wire):
    """What became of the files."""

    uploads: tuple[Upload, ...]
    upload_ids: tuple[str, ...] = Field(
        description="Those that can be processed and have not been: give them to /api/voice/process."
    )


class ClipsAnswer(Wire):
    """Clips as they are now."""

    clips: tuple[Clip, ...]


class UndoAnswer(ClipsAnswer):
    """What was taken back."""

    undone: str


class RemovedAnswer(Wire):
    """What went with a speaker."""

    clips: int
    voices: tuple[str, ...] = Field(
        description="Voices that were trained from this speaker; they stay until they are deleted."
    )


class PlayingAnswer(Wire):
    """What is heard; `playback.position` and `playback.finished` carry the id in the URL as their turn_id."""

    url: str
    duration_s: float


class PeaksAnswer(Wire):
    """A waveform in columns: lowest and highest sample of each, in [-1, 1]."""

    low: tuple[float, ...]
    high: tuple[float, ...]


# --- speakers ---


@router.get("/speakers")
async def list_speakers(running: Running) -> list[Speaker]:
    """Everybody whose recordings are here, with how much there is of them."""
    return await running.voice_data.speakers.everybody()


@router.post("/speakers", status_code=201)
async def add_speaker(body: SpeakerBody, running: Running) -> Speaker:
    """A new speaker; before anything is recorded or trained, the person's consent is written down."""
    return await running.voice_data.speakers.add(body.name, body.language, synthetic=body.synthetic)


@router.patch("/speakers/{speaker_id}")
async def change_speaker(speaker_id: SpeakerId, body: SpeakerFields, running: Running) -> Speaker:
    """Another name or language; the id stays."""
    return await running.voice_data.speakers.change(
        speaker_id, name=body.name, language=body.language
    )


@router.post("/speakers/{speaker_id}/consent")
async def give_consent(speaker_id: SpeakerId, body: ConsentBody, running: Running) -> Speaker:
    """Write down what the person agreed to."""
    return await running.voice_data.speakers.consent(speaker_id, body.statement)


@router.delete("/speakers/{speaker_id}")
async def delete_speaker(
    speaker_id: SpeakerId,
    running: Running,
    confirm: Annotated[str, Query(max_length=64, description="The speaker's id once more.")] = "",
) -> RemovedAnswer:
    """Remove a speaker with every recording and clip, for good: undo does not bring them back."""
    speaker = await running.voice_data.speakers.get(speaker_id)
    if confirm != speaker_id:
        raise ConflictError(
            f"This removes {speaker.name} with {speaker.clips} clips and every recording, for good. "
            f"To do it, add ?confirm={speaker_id}."
        )
    clips, voices = await running.voice_data.remove_speaker(speaker_id)
    return RemovedAnswer(clips=clips, voices=tuple(voices))


# --- files as they came ---


@router.post(
    "/upload",
    status_code=201,
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {
                "multipart/form-data": {
                    "schema": {
                        "type": "object",
                        "required": ["files"],
                        "properties": {
                            "files": {
                                "type": "array",
                                "items": {"type": "string", "format": "binary"},
                                "description": "Recordings (WAV, FLAC, OGG, MP3; with ffmpeg M4A, MP4, WEBM) and lists "
                                "of their transcripts (CSV, TSV, TXT, SRT).",
                            },
                            "speaker": {"type": "string", "description": "Whose voice it is."},
                            "language": {"type": "string"},
                            "emotion": {"type": "string"},
                        },
                    }
                }
            },
        }
    },
)
async def upload_files(request: Request, running: Running) -> UploadAnswer:
    """Send recordings; they go to disk as they come. A file that cannot be used says so in `problem`, the others go on."""
    expected = request.headers.get("content-length", "")
    await asyncio.to_thread(
        running.voice_data.uploads.check_room, int(expected) if expected.isdigit() else 0
    )
    form = await read_form(request, running.voice_data.uploads.receive, most_files=MOST_FILES)
    try:
        if not form.files:
            raise InvalidInputError("The form holds no file: send them in the field files.")
        label = await running.voice_data.label(
            form.fields.get("speaker", "").strip(),
            form.fields.get("language", "").strip(),
            form.fields.get("emotion", "").strip(),
        )
        found = [await running.voice_data.uploads.take(file, label) for file in form.files]
    finally:
        await asyncio.to_thread(form.discard)
    ready = dict.fromkeys(one.id for one in found if not one.problem and not one.processed)
    if all(one.kind == "transcripts" for one in found if one.id in ready and not one.problem):
        # Lists of recordings that are here already say nothing new; lists alone wait for their recordings.
        ready = {} if any(one.is_duplicate for one in found) else ready
    return UploadAnswer(uploads=tuple(found), upload_ids=tuple(ready))


@router.get("/uploads")
async def list_uploads(
    running: Running, speaker: Annotated[str, Query(max_length=64)] = ""
) -> list[Upload]:
    """The recordings as they came, oldest first."""
    return running.voice_data.uploads.listed(speaker)


@router.delete("/uploads/{upload_id}", status_code=204)
async def delete_upload(
    upload_id: Annotated[str, Path(min_length=1, max_length=64)], running: Running
) -> None:
    """Remove a recording as it came; the clips that were cut from it stay."""
    await running.voice_data.uploads.delete(upload_id)


@router.post("/process", status_code=202)
async def process(body: ProcessBody, running: Running) -> JobAnswer:
    """Cut recordings into clips, transcribe and grade them."""
    label = Label(speaker=body.speaker or "", language=body.language, emotion=body.emotion)
    job_id = await running.voice_data.processing.start(
        body.upload_ids, label, denoise=body.denoise, transcribe=body.transcribe
    )
    return JobAnswer(job_id=job_id)


# --- the doctor, and what to read aloud ---


@router.post("/doctor", status_code=202)
async def examine(body: DoctorBody, running: Running) -> JobAnswer:
    """Examine a speaker's accepted clips; `doctor.reported` tells when the report is there."""
    return JobAnswer(job_id=await running.voice_data.doctor.start(body.speaker))


@router.get("/doctor")
async def doctor_report(
    running: Running, speaker: Annotated[str, Query(min_length=1, max_length=64)]
) -> DoctorReport:
    """The last report on a speaker's clips."""
    return await running.voice_data.doctor.report(speaker)


@router.get("/prompts")
async def list_prompts(
    running: Running,
    language: Annotated[str, Query(max_length=32, description="Empty = the speaker's.")] = "",
    speaker: Annotated[str, Query(max_length=64, description="Whose progress is marked.")] = "",
) -> PromptsAnswer:
    """Sentences to read aloud, best first: any beginning of a list is as balanced as it can be."""
    prompts = running.voice_data.prompts
    return PromptsAnswer(
        languages=tuple(await prompts.languages()),
        prompts=tuple(await prompts.listed(language, speaker)),
    )


# --- guided recording ---


@router.get("/record")
async def recording(running: Running) -> Recording:
    """How the guided recording is."""
    return running.voice_data.recorder.now


@router.get("/record/devices")
async def list_microphones(running: Running) -> list[InputAnswer]:
    """Microphones by name."""
    return [
        InputAnswer(name=one.name, is_default=one.is_default, host_api=one.host_api)
        for one in await running.voice_data.recorder.devices()
    ]


@router.post("/record/start")
async def start_recording(body: RecordBody, running: Running) -> Recording:
    """Listen to the microphone; a take that waits is thrown away. `recording.level` tells how loud it is."""
    return await running.voice_data.recorder.start(body.speaker, body.prompt_id, body.device)


@router.post("/record/stop")
async def stop_recording(running: Running) -> Recording:
    """Stop listening; the answer says how good the take is."""
    return await running.voice_data.recorder.stop()


@router.post("/record/keep", status_code=202)
async def keep_take(running: Running) -> KeptAnswer:
    """Take the take as a recording of its sentence, and cut it."""
    upload_id, job_id = await running.voice_data.recorder.keep()
    return KeptAnswer(upload_id=upload_id, job_id=job_id)


@router.post("/record/discard")
async def discard_take(running: Running) -> Recording:
    """Throw the take away, or what is being recorded."""
    return await running.voice_data.recorder.discard()


@router.post("/record/noise")
async def room_noise(body: NoiseBody, running: Running) -> RoomNoise:
    """Listen to the room for two seconds while nobody speaks."""
    return await running.voice_data.recorder.noise(body.device)


@router.post("/record/play")
async def play_take(running: Running) -> PlayingAnswer:
    """Play the take that waits on the stage's output; POST /api/audio/stop ends it."""
    now = running.voice_data.recorder.now
    if not now.take_id:
        raise ConflictError("No take waits to be heard. Record a sentence first.")
    data = await running.voice_data.recorder.take(now.take_id)
    return await _play(running, data, now.prompt.text if now.prompt is not None else "")


@router.get("/record/takes/{take_id}")
async def take_sound(
    take_id: Annotated[str, Path(min_length=1, max_length=64)],
    running: Running,
    range_: Annotated[str, Header(alias="Range", max_length=200)] = "",
) -> Response:
    """The take that waits, as WAV."""
    return ranged(await running.voice_data.recorder.take(take_id), range_, "audio/wav", {})


# --- clips ---


@router.get("/clips", response_model=ClipPage)
async def list_clips(
    running: Running,
    speaker: Annotated[str, Query(max_length=64)] = "",
    status: ClipStatus | Literal[""] = "",
    grade: Literal["A", "B", "C", ""] = "",
    text: Annotated[
        str, Query(max_length=200, description="Part of the transcript or of the file's name.")
    ] = "",
    ids: Annotated[
        str, Query(max_length=4000, description="Only these: ids with commas between, at most 500.")
    ] = "",
    sort: SortedBy = "id",
    descending: bool = False,
    offset: Annotated[int, Query(ge=0, le=LARGEST_ID)] = 0,
    limit: Annotated[int, Query(ge=1, le=MOST_AT_ONCE)] = 1000,
) -> Response:
    """Clips that fit everything that is given, and sums over all that fit."""
    wanted = Wanted(speaker=speaker, status=status, grade=grade, text=text, ids=_ids(ids))
    page = await running.voice_data.clips.page(
        wanted, sort=sort, descending=descending, offset=offset, limit=limit
    )
    # Written as it is: checking thousands of clips once more would hold up the loop for a tenth of a second.
    return Response(await asyncio.to_thread(page.model_dump_json), media_type="application/json")


def _ids(text: str) -> tuple[int, ...]:
    """Numbers with commas between."""
    found = [part.strip() for part in text.split(",") if part.strip()]
    if len(found) > MOST_IDS or not all(
        part.isascii() and part.isdigit() and len(part) <= LONGEST_ID for part in found
    ):
        raise InvalidInputError(
            f"ids is a list of at most {MOST_IDS} clip numbers with commas between, not {text[:60]!r}."
        )
    return tuple(map(int, found))


@router.patch("/clips")
async def change_clips(body: ClipsBody, running: Running) -> ClipsAnswer:
    """Change many clips alike, as one step of undo."""
    return ClipsAnswer(clips=tuple(await _change(running, body.ids, body)))


@router.delete("/clips", status_code=204)
async def delete_clips(body: IdsBody, running: Running) -> None:
    """Take clips out; undo brings them back."""
    await running.voice_data.clips.delete(body.ids)


@router.post("/clips/undo")
async def undo(running: Running) -> UndoAnswer:
    """Take the last change of clips back: an edit, an acceptance, a deletion, a trim."""
    undone, clips = await running.voice_data.clips.undo()
    return UndoAnswer(undone=undone, clips=tuple(clips))


@router.get("/clips/{clip_id}")
async def get_clip(clip_id: ClipId, running: Running) -> Clip:
    """One clip."""
    return await running.voice_data.clips.get(clip_id)


@router.patch("/clips/{clip_id}")
async def change_clip(clip_id: ClipId, body: ClipFields, running: Running) -> Clip:
    """Change a clip; a new transcript is checked against the sound in the background."""
    return (await _change(running, (clip_id,), body))[0]


@router.delete("/clips/{clip_id}", status_code=204)
async def delete_clip(clip_id: ClipId, running: Running) -> None:
    """Take a clip out; undo brings it back."""
    await running.voice_data.clips.delete((clip_id,))


@router.get("/clips/{clip_id}/audio")
async def clip_audio(
    clip_id: ClipId,
    running: Running,
    before: Before = False,
    range_: Annotated[str, Header(alias="Range", max_length=200)] = "",
) -> Response:
    """The clip as WAV."""
    data = await running.voice_data.clips.sound(clip_id, before=before)
    return ranged(data, range_, "audio/wav", {})


class PlayBody(Body):
    """Which sound of a clip to play."""

    before: bool = Field(False, description="The sound from before the clip was edited.")


@router.post("/clips/{clip_id}/play")
async def play_clip(clip_id: ClipId, body: PlayBody, running: Running) -> PlayingAnswer:
    """Play a clip on the stage's output; POST /api/audio/stop ends it."""
    data = await running.voice_data.clips.sound(clip_id, before=body.before)
    clip = await running.voice_data.clips.get(clip_id)
    return await _play(running, data, clip.transcript)


@router.get("/clips/{clip_id}/peaks")
async def clip_peaks(
    clip_id: ClipId,
    running: Running,
    columns: Annotated[int, Query(ge=1, le=4096)] = 600,
    before: Before = False,
) -> PeaksAnswer:
    """The clip's waveform in so many columns."""
    found = await running.voice_data.pictures.peaks(clip_id, columns, before=before)
    return PeaksAnswer(low=tuple(found["low"]), high=tuple(found["high"]))


@router.get("/clips/{clip_id}/spectrogram", response_class=Response)
async def clip_spectrogram(
    clip_id: ClipId,
    running: Running,
    width: Annotated[int, Query(ge=1, le=4096)] = 800,
    height: Annotated[int, Query(ge=1, le=1024)] = 128,
    before: Before = False,
    if_none_match: Annotated[str, Header(max_length=1000)] = "",
) -> Response:
    """The clip's spectrogram as 8-bit grey PNG: 0 to 8 kHz, low ones at the bottom."""
    headers = {
        "ETag": await running.voice_data.pictures.etag(clip_id, width, height, before=before),
        "Cache-Control": "private, no-cache",
    }
    if headers["ETag"] in [tag.strip().removeprefix("W/") for tag in if_none_match.split(",")]:
        return Response(status_code=304, headers=headers)
    picture = await running.voice_data.pictures.spectrogram(clip_id, width, height, before=before)
    return Response(picture.png, media_type="image/png", headers={**headers, "ETag": picture.etag})


@router.post("/clips/{clip_id}/trim")
async def trim_clip(clip_id: ClipId, body: TrimBody, running: Running) -> Clip:
    """Keep what lies between two times of the clip; the sound from before is kept."""
    return await running.voice_data.clips.trim(clip_id, body.start_s, body.end_s)


@router.post("/clips/{clip_id}/split")
async def split_clip(clip_id: ClipId, body: SplitBody, running: Running) -> ClipsAnswer:
    """Make two clips of one; without transcripts both need one."""
    return ClipsAnswer(
        clips=tuple(await running.voice_data.clips.split(clip_id, body.at_s, body.transcripts))
    )


@router.post("/clips/{clip_id}/denoise")
async def denoise_clip(clip_id: ClipId, running: Running) -> Clip:
    """Lower the steady noise of a clip; the sound from before is kept."""
    return await running.voice_data.clips.denoise(clip_id)


@router.post("/clips/{clip_id}/restore")
async def restore_clip(clip_id: ClipId, running: Running) -> Clip:
    """Bring back the sound from before the clip was edited."""
    return await running.voice_data.clips.restore(clip_id)


async def _change(running: Services, ids: tuple[int, ...], fields: ClipFields) -> list[Clip]:
    return await running.voice_data.clips.change(
        ids,
        transcript=fields.transcript,
        status=fields.status,
        emotion=fields.emotion,
        speaker=fields.speaker,
        language=fields.language,
    )


async def _play(running: Services, data: bytes, text: str) -> PlayingAnswer:
    """Play a WAV on the stage's output; what is live is never talked over."""
    audio = Audio(*await asyncio.to_thread(read_wav, data))
    sound_id = uuid4().hex
    url = running.sounds.put(sound_id, 1, audio)
    running.player.play_again([SpokenPiece(1, text, audio, url)], sound_id, STAGE)
    return PlayingAnswer(url=url, duration_s=round(audio.duration_s, 3))
