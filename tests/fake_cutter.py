"""A trainer that cuts and examines in milliseconds, standard library only, for tests of whoever hands it recordings.

``python -m tests.fake_cutter process|doctor FOLDER``. Speaks the real protocol: clips are real files, every second of a
WAV file becomes one. Ids are made of the content, as the real one does it. ``options`` of the job say what goes wrong:

    pause_s     seconds between two clips (0)
    die_after   clips after which it kills itself, once
"""

from __future__ import annotations

import hashlib
import os
import signal
import sys
import time
from pathlib import Path

from backend.audio.wav import read_wav, to_wav
from voice_trainer.__main__ import locked
from voice_trainer.loop import Reporter, Steering, Stopped, TrainerError
from voice_trainer.protocol import (
    PROCESS,
    JobSpec,
    ProgressReader,
    State,
    UploadSpec,
    read_clips,
    read_job,
    read_uploads,
    write_json,
)

WRONG = "wrong"
"""A transcript with this word does not fit."""


def main() -> int:
    command, folder = sys.argv[1], Path(sys.argv[2])
    spec = read_job(folder)
    with locked(folder):
        reporter = Reporter(folder)
        import psutil

        me = psutil.Process()
        write_json(folder / PROCESS, {"pid": me.pid, "started_at": me.create_time()})
        try:
            if command == "doctor":
                examine(folder, reporter)
            elif spec.options.get("phase") == "check":
                check(folder, reporter)
            else:
                cut(folder, spec, reporter)
        except Stopped:
            reporter.state(State.CANCELLED)
            return 3
        except TrainerError as error:
            reporter.error(error.code, str(error))
            return 1
    return 0


def cut(folder: Path, spec: JobSpec, reporter: Reporter) -> None:
    steering = Steering(folder)
    reporter.state(State.PROCESS)
    told = {line["uid"] for line in ProgressReader(folder).read() if line["kind"] == "clip"}
    (folder / "clips").mkdir(exist_ok=True)
    count = 0
    for upload in read_uploads(folder):
        if upload.kind != "sound":
            continue
        problem, clips, seconds = "", 0, 0.0
        try:
            pcm, rate_hz = read_wav(Path(upload.path).read_bytes())
        except ValueError as error:
            problem = f"{upload.filename}: {error}"
        else:
            seconds = len(pcm) / 2 / rate_hz
            for n in range(max(1, int(seconds))):
                steering.obey(reporter)
                time.sleep(float(spec.options.get("pause_s", 0)))
                clips += one_clip(folder, spec, upload, pcm, rate_hz, n, told, reporter)
                count += 1
                if count == spec.options.get("die_after") and not (folder / "died").exists():
                    (folder / "died").touch()
                    os.kill(os.getpid(), signal.SIGKILL)
        reporter.line(
            "file",
            upload=upload.id,
            filename=upload.filename,
            problem=problem,
            seconds=seconds,
            clips=clips,
            rate_hz=rate_hz if not problem else 0,
        )
    reporter.done({"clips": count})


def one_clip(
    folder: Path,
    spec: JobSpec,
    upload: UploadSpec,
    pcm: bytes,
    rate_hz: int,
    n: int,
    told: set[str],
    reporter: Reporter,
) -> int:
    uid = hashlib.sha256(pcm + f"{n} {spec.options.get('denoise')}".encode()).hexdigest()[:20]
    if uid in told:
        return 1
    piece = pcm[2 * n * rate_hz : 2 * (n + 1) * rate_hz]
    path = folder / "clips" / f"{uid}.wav"
    path.write_bytes(to_wav(piece, rate_hz))
    before = ""
    if spec.options.get("denoise"):
        before = f"clips/{uid}.before.wav"
        (folder / before).write_bytes(to_wav(piece[::-1], rate_hz))
    reporter.line(
        "clip",
        uid=uid,
        path=f"clips/{uid}.wav",
        before=before,
        upload=upload.id,
        start_s=float(n),
        end_s=n + 1.0,
        duration_s=len(piece) / 2 / rate_hz,
        text=upload.text,
        text_from=("prompt" if upload.is_prompt else "import") if upload.text else "",
        speaker=upload.speaker,
        emotion=upload.emotion,
        language=upload.language or spec.language,
        grade="A",
        reasons=[],
        measures={"snr_db": 40.0 - n},
        sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
    )
    return 1


def check(folder: Path, reporter: Reporter) -> None:
    reporter.state(State.EXAMINE)
    for clip in read_clips(folder):
        is_wrong = WRONG in clip.text
        reporter.line(
            "clip",
            uid=clip.uid,
            text=clip.text,
            grade="C" if is_wrong else "A",
            reasons=["words differ"] if is_wrong else [],
            measures={**clip.measures, "match": 0.6 if is_wrong else 0.3},
        )
    reporter.done({})


def examine(folder: Path, reporter: Reporter) -> None:
    reporter.state(State.EXAMINE)
    clips = read_clips(folder)
    wrong = [clip.uid for clip in clips if WRONG in clip.text]
    if wrong:
        reporter.line(
            "finding",
            code="wrong_transcript",
            severity="problem",
            title="A transcript does not fit",
            detail="",
            fix="Listen to it.",
            clips=wrong,
            value=len(wrong),
        )
    reporter.line(
        "report",
        minutes={"A": sum(clip.duration_s for clip in clips) / 60},
        lengths=[[0, 2, len(clips)]],
        coverage=0.5,
        missing=["θ"],
        suggestions=["en-us-3"],
    )
    reporter.done({})


if __name__ == "__main__":
    sys.exit(main())
