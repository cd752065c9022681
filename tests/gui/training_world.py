"""A small backend for the Train page: a real HTTP server on loopback that speaks the routes of voice training.

Its clips, reports and jobs are made up but plausible, and change as the routes say they do; nothing is computed. Events
are handed to the window by the test (`Stand.feed`), so that their order is the test's.
"""

from __future__ import annotations

import contextlib
import io
import json
import math
import re
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar
from urllib.parse import parse_qs, urlsplit

from PIL import Image

from backend.contracts.entities import Character, VoiceChoice, VoiceInfo
from backend.contracts.events import Event
from backend.contracts.training import (
    Checkpoint,
    CheckpointScores,
    Clip,
    ClipPage,
    DoctorReport,
    Finding,
    Job,
    LossPoint,
    Prompt,
    Recording,
    RecordingCheck,
    Speaker,
    Upload,
)
from frontend.client import BackendClient
from tests.gui.stand import Stand

AT = datetime(2026, 3, 14, 20, 14, 2, tzinfo=UTC)
SENTENCES = (
    "The lantern refused to go out.",
    "Every fox knows a shortcut home.",
    "She sells sea shells by the shore, or so the gulls have always claimed over breakfast.",
    "Why would a kettle hold a grudge?",
    "Seven purple umbrellas, all of them lost.",
    "Welcome in, raiders! Take a cushion.",
    "Um, wait, is this thing on?",
    "Thank you for the twelve months!",
)
REASONS: dict[str, tuple[str, ...]] = {"A": (), "B": ("room echo",), "C": ("words differ", "noise")}


class World:
    """What the server knows. Change it before or between requests."""

    def __init__(self, clips: int = 24, *, consent: bool = True, speaker: bool = True) -> None:
        self.lock = threading.Lock()
        self.asked: list[tuple[str, Any]] = []
        self.speakers: list[Speaker] = []
        self.clips: dict[int, Clip] = {}
        self.uploads: list[Upload] = []
        self.jobs: list[Job] = []
        self.checkpoints: list[Checkpoint] = []
        self.report: DoctorReport | None = None
        self.changed = False
        """The clips are not those of the report any more."""
        self.recording = Recording(state="idle")
        self.noise: dict[str, Any] = {"noise_dbfs": -58.0, "ok": True, "advice": "Quiet."}
        self.microphones: list[dict[str, Any]] = [
            {"name": "Blue Yeti", "is_default": True, "host_api": "ALSA"},
            {"name": "Webcam", "is_default": False, "host_api": "ALSA"},
        ]
        self.voices: list[str] = []
        self.undo: list[tuple[str, dict[int, Clip]]] = []
        self.refuse: dict[str, tuple[int, str]] = {}
        """"GET /api/…" to a status and a message: what goes wrong."""
        self.character = Character(id="hoshi", name="Hoshi Kitsune", voice=VoiceChoice())
        self.next_job = 12
        if speaker:
            agreed = "I am Mika and I agree." if consent else ""
            self.speakers.append(
                Speaker(id="mika", name="Mika", consent=agreed, consent_at=AT if consent else None)
            )
        kinds = [self.made_clip(number) for number in range(1, 1 + min(clips, 200))]
        for number in range(1, clips + 1):
            fields = {"id": number, "uid": f"c{number:06d}"}
            self.clips[number] = kinds[(number - 1) % 200].model_copy(update=fields)
        if clips:
            self.uploads = [
                Upload(id=f"u{n}", filename=f"stream {n}.wav", speaker="mika", size_bytes=4_000_000,
                       processed=True, created_at=AT)
                for n in range(3)
            ]  # fmt: skip

    # --- made up values

    @staticmethod
    def made_clip(number: int) -> Clip:
        grade = "AAABAACB"[number % 8]
        snr = 42.0 - (number * 7) % 23
        return Clip(
            id=number, uid=f"c{number:06d}", speaker="mika", source="stream 1.wav",
            start_s=number * 4.0, end_s=number * 4.0 + 2 + number % 5,
            duration_s=2.0 + (number * 13 % 50) / 10, transcript=SENTENCES[number % len(SENTENCES)],
            text_from="whisper", language="en-us", grade=grade,
            reasons=REASONS[grade], status="rejected" if grade == "C" else "accepted",
            measures={"snr_db": snr, "lufs": -19.8 + number % 4, "match": 0.34 if grade != "C" else 0.61},
            created_at=AT, updated_at=AT,
        )  # fmt: skip

    def made_report(self) -> DoctorReport:
        return DoctorReport(
            speaker="mika", at=AT, verdict="Good enough for a quick clone; two things would make it better.",
            findings=(
                Finding(code="wrong_transcript", severity="problem", title="2 transcripts do not fit the sound",
                        detail="Alignment cost 0.61 and 0.58; right ones lie near 0.34.",
                        fix="Listen and correct the words, or reject the clips.", clips=(6, 14), value=0.61),
                Finding(code="coverage", severity="hint", title="3 sounds are hardly heard",
                        detail="ʒ, ɔɪ and ð come less than 5 times.", fix="Record the 6 suggested sentences."),
                Finding(code="noise", severity="ok", title="The room is quiet", detail="Noise floor -62 dBFS."),
            ),
            minutes={"A": 5.1, "B": 2.4, "C": 0.6},
            lengths=tuple((float(n), float(n + 1), [0, 0, 14, 22, 18, 12, 9, 6, 3, 2, 0, 0][n]) for n in range(12)),
            coverage=0.87, missing=("ʒ", "ɔɪ", "ð"), suggestions=("en-us-3", "en-us-5"),
        )  # fmt: skip

    def made_training(self, state: str = "train", **changes: Any) -> Job:
        fields: dict[str, Any] = {
            "id": "job-12", "kind": "train", "name": "mika-v1", "speaker": "mika", "trainer": "quick",
            "state": state, "progress": 0.64, "step": 6400, "steps": 10_000, "loss": 0.318,
            "steps_per_s": 24.1, "eta_s": 160.0, "memory_mb": 1100.0, "elapsed_s": 266.0,
            "verdict": "Still improving: -4 % in the last 800 steps. Keep going.", "created_at": AT, "started_at": AT,
        }  # fmt: skip
        return Job(**{**fields, **changes})

    def made_checkpoint(self, step: int, **changes: Any) -> Checkpoint:
        fields: dict[str, Any] = {
            "id": f"job-12:{step}", "job_id": "job-12", "step": step, "size_bytes": 9_000_000,
            "sample_url": f"/api/voice/samples/job-12/{step}.wav", "sample_text": "The fox talks to the moon.",
            "scores": CheckpointScores(clear_words=0.5 + step / 30_000, mcd_db=6.1 - step / 2000,
                                       similarity=min(0.95, 0.56 + step / 15_000), loss=0.9 - step / 11_000),
            "created_at": AT + timedelta(seconds=step / 24),
        }  # fmt: skip
        return Checkpoint(**{**fields, **changes})

    # --- answers

    def answer(self, method: str, path: str, query: dict[str, str], body: Any) -> Any:
        """A value, bytes (a file), or (status, message)."""
        name = f"{method} {path}"
        self.asked.append((name, body if body is not None else query))
        if name in self.refuse:
            return self.refuse[name]
        for pattern, work in self.routes():
            found = re.fullmatch(pattern, name)
            if found is not None:
                return work(query, body or {}, *found.groups())
        return 404, f"{name} is not there."

    def routes(self) -> list[tuple[str, Callable[..., Any]]]:
        return [
            (r"GET /api/voice/speakers", lambda q, b: self.known_speakers()),
            (r"POST /api/voice/speakers", self.add_speaker),
            (r"PATCH /api/voice/speakers/([^/]+)", self.change_speaker),
            (r"POST /api/voice/speakers/([^/]+)/consent", self.agree),
            (r"GET /api/voice/uploads", lambda q, b: self.uploads),
            (r"POST /api/voice/upload", self.take_upload),
            (r"DELETE /api/voice/uploads/([^/]+)", self.drop_upload),
            (r"POST /api/voice/process", self.process),
            (r"GET /api/voice/clips", lambda q, b: self.page(q)),
            (r"PATCH /api/voice/clips", self.change),
            (r"DELETE /api/voice/clips", self.remove),
            (r"POST /api/voice/clips/undo", lambda q, b: self.take_back()),
            (r"GET /api/voice/clips/(\d+)/peaks", self.peaks),
            (r"GET /api/voice/clips/(\d+)/spectrogram", self.spectrogram),
            (r"POST /api/voice/clips/(\d+)/play", self.play),
            (r"POST /api/voice/clips/(\d+)/(trim|denoise|restore)", self.work_on),
            (r"POST /api/voice/clips/(\d+)/split", self.split),
            (r"GET /api/voice/doctor", lambda q, b: self.reported()),
            (r"POST /api/voice/doctor", self.examine),
            (r"GET /api/voice/prompts", lambda q, b: self.prompts(q)),
            (r"GET /api/voice/record", lambda q, b: self.recording),
            (r"GET /api/voice/record/devices", lambda q, b: list(self.microphones)),
            (r"POST /api/voice/record/noise", lambda q, b: self.noise),
            (r"POST /api/voice/record/(start|stop|discard)", self.record),
            (r"POST /api/voice/record/keep", self.keep),
            (r"POST /api/voice/record/play", lambda q, b: {"url": "/api/audio/00ff/1", "duration_s": 2.4}),
            (r"GET /api/voice/jobs", lambda q, b: self.jobs),
            (r"GET /api/voice/jobs/([^/]+)/losses", lambda q, b, i: {"points": self.losses()}),
            (r"POST /api/voice/jobs/([^/]+)/(pause|resume|stop)", self.steer),
            (r"GET /api/voice/checkpoints", lambda q, b: self.checkpoints),
            (r"GET /api/conversations/stage", lambda q, b: {"id": "stage", "character_id": "hoshi"}),
            (r"GET /api/characters/hoshi", lambda q, b: self.character),
            (r"GET /api/voices", lambda q, b: [VoiceInfo(engine="piper", name=one, title=one) for one in self.voices]),
            (r"POST /api/audio/stop", lambda q, b: {"stopped": True}),
        ]  # fmt: skip

    def known_speakers(self) -> list[Speaker]:
        out = []
        for one in self.speakers:
            own = [clip for clip in self.clips.values() if clip.speaker == one.id]
            good = [clip for clip in own if clip.status == "accepted"]
            out.append(one.model_copy(update={"clips": len(own), "accepted": len(good)}))
        return out

    def add_speaker(self, query: Any, body: Any) -> Speaker:
        made = Speaker(id=body["name"].lower(), name=body["name"], language=body["language"],
                       synthetic=bool(body.get("synthetic")))  # fmt: skip
        self.speakers.append(made)
        return made

    def change_speaker(self, query: Any, body: Any, who: str) -> Speaker:
        found = next(one for one in self.speakers if one.id == who)
        made = found.model_copy(update=body)
        self.speakers[self.speakers.index(found)] = made
        return made

    def agree(self, query: Any, body: Any, who: str) -> Speaker:
        found = next(one for one in self.speakers if one.id == who)
        made = found.model_copy(update={"consent": body["statement"], "consent_at": AT})
        self.speakers[self.speakers.index(found)] = made
        return made

    def take_upload(self, query: Any, body: Any) -> Any:
        made = []
        for name in body["files"]:
            problem = (
                ""
                if name.endswith((".wav", ".csv"))
                else f"{name} holds no sound that can be read."
            )
            made.append(Upload(id=f"u{len(self.uploads)}", filename=name, speaker=body["fields"].get("speaker", ""),
                               problem=problem, size_bytes=1000, created_at=AT))  # fmt: skip
            self.uploads.append(made[-1])
        return {"uploads": wire(made), "upload_ids": [one.id for one in made]}

    def drop_upload(self, query: Any, body: Any, name: str) -> Any:
        self.uploads = [one for one in self.uploads if one.id != name]
        return {"deleted": True}

    def process(self, query: Any, body: Any) -> Any:
        self.next_job += 1
        made = Job(id=f"job-{self.next_job}", kind="process", speaker="mika", state="process", progress=0.25,
                   message="stream 3.wav: finding speech", created_at=AT)  # fmt: skip
        self.jobs.insert(0, made)
        return {"job_id": made.id}

    def page(self, query: dict[str, str]) -> ClipPage:
        found = self.fitting(query)
        good = [clip for clip in found if clip.status == "accepted"]
        minutes: dict[str, float] = {}
        grades: dict[str, int] = {}
        for clip in good:
            grades[clip.grade] = grades.get(clip.grade, 0) + 1
            minutes[clip.grade] = minutes.get(clip.grade, 0) + clip.duration_s / 60
        offset, limit = int(query.get("offset", 0)), int(query.get("limit", 100))
        return ClipPage(clips=tuple(found[offset : offset + limit]), total=len(found), accepted=len(good),
                        minutes=minutes,
            grades=grades, can_undo=self.undo[-1][0] if self.undo else "")  # fmt: skip

    def fitting(self, query: dict[str, str]) -> list[Clip]:
        found = [clip for clip in self.clips.values() if clip.speaker == query.get("speaker")]
        if query.get("ids"):
            wanted = set(map(int, query["ids"].split(",")))
            found = [clip for clip in found if clip.id in wanted]
        for name in ("status", "grade"):
            if query.get(name):
                found = [clip for clip in found if getattr(clip, name) == query[name]]
        if query.get("text"):
            found = [clip for clip in found if query["text"].lower() in clip.transcript.lower()]
        keys: dict[str, Callable[[Clip], Any]] = {
            "id": lambda c: c.id,
            "transcript": lambda c: c.transcript,
            "duration": lambda c: c.duration_s,
            "snr": lambda c: c.measures.get("snr_db", 0),
            "loudness": lambda c: c.measures.get("lufs", 0),
            "grade": lambda c: c.grade,
            "match": lambda c: c.measures.get("match", 0),
        }
        found.sort(key=keys[query.get("sort", "id")], reverse=query.get("descending") == "true")
        return found

    def remember(self, what: str, ids: list[int]) -> None:
        self.undo.append((what, {n: self.clips[n] for n in ids if n in self.clips}))

    def change(self, query: Any, body: Any) -> Any:
        ids = [n for n in body.pop("ids") if n in self.clips]
        self.remember("change of clips", ids)
        for n in ids:
            self.clips[n] = self.clips[n].model_copy(update=body)
        return {"clips": wire([self.clips[n] for n in ids])}

    def remove(self, query: Any, body: Any) -> Any:
        self.remember(f"deletion of {len(body['ids'])} clips", body["ids"])
        for n in body["ids"]:
            self.clips.pop(n, None)
        return {"deleted": len(body["ids"])}

    def take_back(self) -> Any:
        if not self.undo:
            return 409, "There is nothing to undo."
        what, clips = self.undo.pop()
        self.clips.update(clips)
        return {"undone": what, "clips": wire(list(clips.values()))}

    def peaks(self, query: dict[str, str], body: Any, number: str) -> Any:
        count = int(query.get("columns", 100))
        high = [
            abs(math.sin(n / count * 9)) * (0.3 + 0.5 * abs(math.sin(n * 1.7)))
            for n in range(count)
        ]
        return {"low": [-value for value in high], "high": high}

    def spectrogram(self, query: dict[str, str], body: Any, number: str) -> bytes:
        wide, high = int(query.get("width", 200)), int(query.get("height", 80))
        image = Image.new("L", (wide, high))
        image.putdata([
            int(max(0, 220 * (y / high) * abs(math.sin(x / 17)) * (0.5 + 0.5 * math.sin(y / 3))))
            for y in range(high) for x in range(wide)
        ])  # fmt: skip
        out = io.BytesIO()
        image.save(out, "PNG")
        return out.getvalue()

    def play(self, query: Any, body: Any, number: str) -> Any:
        return {
            "url": f"/api/audio/{int(number):08x}/1",
            "duration_s": self.clips[int(number)].duration_s,
        }

    def work_on(self, query: Any, body: Any, number: str, what: str) -> Clip:
        n = int(number)
        self.remember(f"{what} of clip {n}", [n])
        changes: dict[str, Any] = {"edited": what != "restore"}
        if what == "trim":
            changes["duration_s"] = body["end_s"] - body["start_s"]
        self.clips[n] = self.clips[n].model_copy(update=changes)
        return self.clips[n]

    def split(self, query: Any, body: Any, number: str) -> Any:
        n = int(number)
        self.remember(f"split of clip {n}", [n])
        whole, fresh = self.clips.pop(n), max(self.clips) + 1
        texts = body.get("transcripts") or ["", ""]
        first = whole.model_copy(
            update={"id": fresh, "duration_s": body["at_s"], "transcript": texts[0]}
        )
        second = whole.model_copy(
            update={
                "id": fresh + 1,
                "duration_s": whole.duration_s - body["at_s"],
                "transcript": texts[1],
            }
        )
        self.clips.update({fresh: first, fresh + 1: second})
        return {"clips": wire([first, second])}

    def examine(self, query: Any, body: Any) -> Any:
        self.report = self.made_report()
        return {"job_id": "job-11"}

    def reported(self) -> Any:
        if self.report is None:
            return 404, "Never examined."
        return self.report.model_copy(update={"outdated": self.changed})

    def prompts(self, query: dict[str, str]) -> Any:
        made = [
            Prompt(id=f"en-us-{n}", language="en-us", text=text, suggested=n in (3, 5), recorded=n == 0)
            for n, text in enumerate(SENTENCES)
        ]  # fmt: skip
        return {"languages": ["en-us", "de", "ja"], "prompts": wire(made)}

    def record(self, query: Any, body: Any, what: str) -> Recording:
        if what == "start":
            prompt = next(p for p in self.prompts({})["prompts"] if p["id"] == body["prompt_id"])
            self.recording = Recording(
                state="recording", speaker=body["speaker"], prompt=Prompt(**prompt)
            )
        elif what == "stop":
            check = RecordingCheck(
                ok=True, notes=("Clear and loud enough.",), peak_dbfs=-6, snr_db=41, duration_s=2.4
            )
            self.recording = self.recording.model_copy(
                update={
                    "state": "review",
                    "take_id": "t1",
                    "take_url": "/api/voice/record/take",
                    "check": check,
                }
            )
        else:
            self.recording = Recording(state="idle")
        return self.recording

    def keep(self, query: Any, body: Any) -> Any:
        self.recording = Recording(state="idle")
        return {"upload_id": "u9", "job_id": "job-20"}

    def steer(self, query: Any, body: Any, name: str, what: str) -> Any:
        state = {"pause": "paused", "resume": "train", "stop": "cancelled"}[what]
        for number, job in enumerate(self.jobs):
            if job.id == name:
                self.jobs[number] = Job.model_validate({**job.model_dump(), "state": state})
                return self.jobs[number]
        return 404, f"There is no job {name}."

    @staticmethod
    def losses() -> Any:
        return wire(
            [
                LossPoint(
                    step=n * 100,
                    train=0.3 + 0.6 * math.exp(-n / 20),
                    validation=0.32 + 0.6 * math.exp(-n / 20),
                )
                for n in range(64)
            ]
        )


def wire(value: Any) -> Any:
    """A value as it comes over the wire."""
    if isinstance(value, list | tuple):
        return [wire(item) for item in value]
    return json.loads(value.model_dump_json()) if hasattr(value, "model_dump_json") else value


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    world: ClassVar[World]

    def _serve(self) -> None:
        parts = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        kind = self.headers.get("Content-Type", "")
        body: Any = None
        if kind.startswith("multipart/"):
            text = raw.decode("latin-1")
            body = {
                "files": re.findall(r'filename="([^"]*)"', text),
                "fields": dict(re.findall(r'name="(\w+)"\r\n\r\n([^\r]*)', text)),
            }
        elif raw:
            body = json.loads(raw)
        with self.world.lock:
            found = self.world.answer(self.command, parts.path, query, body)
        status = 200
        if isinstance(found, tuple) and len(found) == 2 and isinstance(found[0], int):
            status, found = found[0], {"code": "refused", "message": found[1]}
        data = found if isinstance(found, bytes) else json.dumps(wire(found)).encode()
        with contextlib.suppress(ConnectionError):  # the window was closed meanwhile
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

    do_GET = do_POST = do_PATCH = do_DELETE = _serve

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


class WireBackend(BackendClient):
    """The real client, drained by the stand; its event stream is left to the test."""

    def __init__(self, url: str) -> None:
        super().__init__(url, "token")
        self.events: list[Event] = []

    async def _listen(self) -> None:
        """The server has no event stream."""

    def deliver(self) -> int:
        """Hand over what has come; while nothing has, leave the processor to the server's threads."""
        if not self.inbox:
            time.sleep(0.001)
        return self.drain(0.05, self.events.append, lambda connection: None)


class WireStand(Stand):
    """A stand on a real server over a `World`."""

    def __init__(self, world: World | None = None, **options: Any) -> None:
        super().__init__({}, **options)
        self.world = world or World()
        handler = type("Handler", (_Handler,), {"world": self.world})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.01,), daemon=True
        )
        self._thread.start()
        self.backend: Any = WireBackend(f"http://127.0.0.1:{self._server.server_port}")
        self.backend.start()

    def bodies(self, name: str) -> list[Any]:
        """What was sent with each request of that name."""
        return [body for asked, body in list(self.world.asked) if asked == name]

    def close(self) -> None:
        self.backend.close()
        self.root.destroy()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(2)
