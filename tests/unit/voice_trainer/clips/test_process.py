"""The command ``process``, from uploads on the disk to clips on the disk and lines in progress.jsonl."""

from __future__ import annotations

import errno
import hashlib
import io
import subprocess
import sys
import time
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import soundfile

from backend.audio import espeak
from backend.audio.levels import FloatArray, from_pcm16
from backend.audio.loudness import lufs
from backend.audio.resample import resample
from backend.audio.wav import read_wav
from tests import crashing_cutters
from voice_trainer.clips import process, segment
from voice_trainer.clips.cut import CLIP_HZ, Order, cut_file, file_sha256
from voice_trainer.clips.pool import Pool, Result
from voice_trainer.loop import Reporter, Stopped, TrainerError
from voice_trainer.protocol import (
    ClipSpec,
    Control,
    JobSpec,
    ProgressReader,
    UploadSpec,
    write_clips,
    write_control,
    write_job,
    write_uploads,
)

ROOT = Path(__file__).resolve().parents[4]
SENTENCES = (
    "The quick brown fox jumps over the lazy dog.",
    "Please call Stella, and ask her to bring these things with her from the store.",
    "She sells sea shells by the sea shore, and the shells she sells are sea shells for sure.",
    "Good evening everybody, and welcome to the stream.",
)


@cache
def said(text: str) -> FloatArray:
    """A sentence at 22,050 Hz."""
    return from_pcm16(espeak.synthesize(text).pcm)


@cache
def recording(sentences: int = 8, noise: float = 0.0003, seed: int = 1) -> FloatArray:
    """Sentences with pauses of one second between them, at 22,050 Hz."""
    parts = [np.zeros(CLIP_HZ // 2, np.float32)]
    for index in range(sentences):
        parts += [said(SENTENCES[index % len(SENTENCES)]), np.zeros(CLIP_HZ, np.float32)]
    sound = np.concatenate(parts)
    hiss = np.random.default_rng(seed).standard_normal(sound.size).astype(np.float32)
    return sound + hiss * noise


def store(
    folder: Path, name: str, samples: FloatArray, rate_hz: int = CLIP_HZ, **spec: Any
) -> UploadSpec:
    """A recording as an upload, in the format its name ends with."""
    folder.mkdir(exist_ok=True)
    target = io.BytesIO()
    soundfile.write(target, samples, rate_hz, format=name.rpartition(".")[2].upper())
    path = folder / hashlib.sha256(name.encode()).hexdigest()[:8]
    path.write_bytes(target.getvalue())
    return UploadSpec(id=name, path=str(path), filename=name, **spec)


def job(folder: Path, uploads: list[UploadSpec], **options: Any) -> Path:
    folder.mkdir(exist_ok=True)
    write_uploads(folder, uploads)
    write_job(folder, JobSpec(id=folder.name, command="process", speaker="mia", options=options))
    return folder


def run(folder: Path) -> list[dict[str, Any]]:
    reporter = Reporter(folder)
    try:
        process.run(folder, reporter)
    finally:
        reporter.close()
    return list(ProgressReader(folder).read())


def of_kind(lines: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    return [line for line in lines if line["kind"] == kind]


def sound_of(path: Path) -> FloatArray:
    pcm, rate_hz = read_wav(path.read_bytes())
    assert rate_hz == CLIP_HZ
    return from_pcm16(pcm)


@pytest.fixture(scope="module")
def done(tmp_path_factory) -> tuple[Path, list[dict[str, Any]]]:
    """One job with most of what may be in it, run once."""
    folder = tmp_path_factory.mktemp("process")
    files = folder / "files"
    wide = resample(recording(4), CLIP_HZ, 48_000)
    one_side = np.stack([np.zeros(wide.size, np.float32), wide], axis=1)
    loud = recording(2, seed=2) * 6
    listed = files / "list"
    files.mkdir()
    listed.write_text(f"{SENTENCES[0]}|x\ntold.ogg|{SENTENCES[0]}\nWRONG.flac|{SENTENCES[2]}\n")
    subtitles = files / "subtitles"
    subtitles.write_text(
        "1\n00:00:00,300 --> 00:00:03,300\nFirst words.\n\n2\n00:00:04,000 --> 00:00:08,700\nSecond words here.\n"
    )
    uploads = [
        store(files, "long.wav", one_side, 48_000),
        store(files, "same.wav", one_side, 48_000),
        store(files, "prompt.flac", said(SENTENCES[1]), text=SENTENCES[1], is_prompt=True, emotion="calm"),
        store(files, "told.ogg", said(SENTENCES[0])),
        store(files, "wrong.flac", said(SENTENCES[3])),
        store(files, "loud.wav", np.clip(loud, -0.9, 0.9)),
        store(files, "silence.wav", np.zeros(CLIP_HZ * 3, np.float32)),
        store(files, "film.mp3", recording(2, seed=3)),
        UploadSpec("gone", str(files / "gone"), "gone.wav"),
        UploadSpec("list", str(listed), "list.csv", kind="transcripts"),
        UploadSpec("film.srt", str(subtitles), "film.srt", kind="transcripts"),
    ]  # fmt: skip
    (files / hashlib.sha256(b"broken.wav").hexdigest()[:8]).write_bytes(b"no sound" * 99)
    uploads.append(replace(uploads[0], id="broken", filename="broken.wav", path=str(files / hashlib.sha256(b"broken.wav").hexdigest()[:8])))  # fmt: skip
    lines = run(job(folder / "job", uploads))
    return folder / "job", lines


def clips_of(done, upload: str) -> list[dict[str, Any]]:
    return [line for line in of_kind(done[1], "clip") if line["upload"] == upload]


def test_every_file_is_answered_and_bad_ones_stop_nobody(done):
    files = {line["upload"]: line for line in of_kind(done[1], "file")}
    problems = {name: line["problem"] for name, line in files.items() if line["problem"]}
    assert len(files) == 12
    assert set(problems) >= {"broken", "silence.wav", "gone"}
    assert "no sound file" in problems["broken"]
    assert problems["silence.wav"] == "Nobody speaks in silence.wav."
    assert done[1][-1]["kind"] == "done"


def test_the_same_sound_twice_is_cut_once(done):
    twins = [
        line["problem"] for line in of_kind(done[1], "file") if "same sound as" in line["problem"]
    ]
    assert len(twins) == 1
    assert len(clips_of(done, "long.wav")) + len(clips_of(done, "same.wav")) >= 3
    uids = [line["uid"] for line in of_kind(done[1], "clip")]
    assert len(uids) == len(set(uids))


def test_clips_are_pcm16_mono_of_22050_hz_at_one_loudness(done):
    folder, lines = done
    for line in of_kind(lines, "clip"):
        path = folder / line["path"]
        samples = sound_of(path)
        assert samples.size / CLIP_HZ == pytest.approx(line["duration_s"], abs=1e-3)
        assert lufs(samples, CLIP_HZ) == pytest.approx(-23.0, abs=0.5)
        assert line["measures"]["lufs"] == pytest.approx(lufs(samples, CLIP_HZ), abs=0.2)
        assert hashlib.sha256(path.read_bytes()).hexdigest() == line["sha256"]
        assert line["speaker"] == "mia"
        assert line["duration_s"] <= 12.0


def test_clips_lie_where_the_lines_say(done):
    samples = resample(recording(4), CLIP_HZ, 48_000)
    for line in clips_of(done, "long.wav") or clips_of(done, "same.wav"):
        clip = sound_of(done[0] / line["path"])
        source = resample(
            samples[round(line["start_s"] * 48_000) : round(line["end_s"] * 48_000)],
            48_000,
            CLIP_HZ,
        )[: clip.size]
        clip = clip[: source.size]
        likeness = np.dot(clip, source) / np.sqrt(np.dot(clip, clip) * np.dot(source, source))
        assert likeness > 0.98  # what lies below 60 Hz is gone


def test_a_prompt_is_one_clip_with_its_text_and_fits(done):
    (line,) = clips_of(done, "prompt.flac")
    assert (line["text"], line["text_from"], line["emotion"]) == (SENTENCES[1], "prompt", "calm")
    assert line["measures"]["match"] < 0.4
    assert line["grade"] == "A"


def test_texts_of_a_list_find_their_files_and_wrong_ones_show(done):
    (told,) = clips_of(done, "told.ogg")
    (wrong,) = clips_of(done, "wrong.flac")
    assert (told["text"], told["text_from"]) == (SENTENCES[0], "import")
    assert told["measures"]["match"] < wrong["measures"]["match"]
    assert wrong["reasons"][0] == "words differ"
    assert any("list.csv: 1 of 3 lines" in line["message"] for line in of_kind(done[1], "warning"))


def test_subtitles_cut_a_file_by_time(done):
    found = clips_of(done, "film.mp3")
    assert [line["text"] for line in found] == ["First words.", "Second words here."]
    assert found[0]["end_s"] < found[1]["start_s"]


def test_clipping_is_graded(done):
    found = clips_of(done, "loud.wav")
    assert found
    assert all("clipped" in line["reasons"] for line in found)


def test_a_voice_in_one_channel_is_as_loud_as_one_in_both(done):
    files = {line["upload"]: line for line in of_kind(done[1], "file") if not line["problem"]}
    measured = files.get("long.wav") or files["same.wav"]
    assert measured["measures"]["channels"] == 2
    assert measured["measures"]["rate_hz"] == 48_000
    assert measured["measures"]["bandwidth_hz"] < 11_500
    clip = (clips_of(done, "long.wav") or clips_of(done, "same.wav"))[0]
    assert clip["measures"]["source_lufs"] == pytest.approx(
        lufs(said(SENTENCES[0]), CLIP_HZ), abs=1.5
    )


def test_a_voice_of_220_hz_comes_out_with_220_hz(tmp_path, monkeypatch):
    """A vowel with 220 Hz and syllables, at a rate that has to be changed."""
    rate_hz = 44_100
    time_s = np.arange(4 * rate_hz) / rate_hz
    tone = np.zeros(time_s.size)
    for number in range(1, 20):
        hz = 220 * number
        strength = (
            sum(np.exp(-(((hz - formant) / 150) ** 2)) for formant in (700, 1200, 2600)) + 0.02
        )
        tone += strength * np.sin(2 * np.pi * hz * time_s)
    voice = tone * np.clip(np.sin(2 * np.pi * 2 * time_s), 0, 1) * 0.15
    voice = np.concatenate((np.zeros(rate_hz // 2), voice, np.zeros(rate_hz // 2)))
    upload = store(
        tmp_path / "files", "voice.flac", voice.astype(np.float32), rate_hz, is_prompt=True
    )
    # The network knows that this is nobody; levels and pitch take it for a voice.
    monkeypatch.setattr(segment, "_silero", lambda: None)
    order = Order("u", upload.path, "voice.flac", str(tmp_path), is_whole=True)
    lines: list[dict[str, Any]] = []
    cut_file(order, file_sha256(Path(upload.path)), lines.append, lambda _: None)
    samples = sound_of(tmp_path / f"{lines[0]['uid']}.wav")
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(samples.size)))
    hz = np.fft.rfftfreq(samples.size, 1 / CLIP_HZ)
    for number in (1, 3, 5, 12):
        near = (hz > 220 * number - 60) & (hz < 220 * number + 60)
        assert hz[near][np.argmax(spectrum[near])] == pytest.approx(220 * number, abs=1.0)


def test_denoising_keeps_the_clip_from_before(tmp_path):
    noisy = store(tmp_path / "files", "noisy.wav", recording(2, noise=0.01))
    folder = job(tmp_path / "job", [noisy], denoise=True)
    for line in of_kind(run(folder), "clip"):
        measures = line["measures"]
        assert measures["denoised"] == 1.0
        assert measures["snr_db"] > measures["source_snr_db"] + 8
        after, before = sound_of(folder / line["path"]), sound_of(folder / line["before"])
        assert after.size == before.size
        assert lufs(before, CLIP_HZ) == pytest.approx(-23.0, abs=0.5)


@pytest.mark.slow
def test_a_stopped_job_goes_on_where_it_was(tmp_path):
    uploads = [
        store(tmp_path / "files", "a.wav", recording(2)),
        store(tmp_path / "files", "b.wav", recording(3, seed=5)),
        store(tmp_path / "files", "c.wav", recording(2, seed=6)),
    ]
    whole = run(job(tmp_path / "whole", uploads))
    folder = job(tmp_path / "job", uploads)

    class StopsAfterAFile(Reporter):
        def line(self, kind: str, **fields: Any) -> None:
            super().line(kind, **fields)
            if kind == "file":
                write_control(folder, Control(order="stop"))

    reporter = StopsAfterAFile(folder)
    with pytest.raises(Stopped):
        process.run(folder, reporter)
    reporter.close()
    before = list(ProgressReader(folder).read())
    assert 1 <= len(of_kind(before, "file")) < 3
    write_control(folder, Control())
    (folder / "clips" / ".clip-half.wav").write_bytes(b"RIFF")

    lines = run(folder)

    def told(found):
        return {line["uid"]: (line["upload"], line["sha256"]) for line in of_kind(found, "clip")}

    assert told(lines) == told(whole)
    assert len(of_kind(lines, "clip")) == len(of_kind(whole, "clip"))
    assert sorted(line["upload"] for line in of_kind(lines, "file")) == ["a.wav", "b.wav", "c.wav"]
    assert lines[-1]["result"]["clips"] == whole[-1]["result"]["clips"]
    assert not list((folder / "clips").glob(".clip-*"))


def test_nothing_usable_is_a_failure_with_the_reason(tmp_path):
    upload = store(tmp_path / "files", "silence.wav", np.zeros(CLIP_HZ, np.float32))
    with pytest.raises(TrainerError, match=r"Nobody speaks in silence\.wav") as caught:
        run(job(tmp_path / "job", [upload]))
    assert caught.value.code == "data.none"


@pytest.mark.parametrize(
    "options",
    [
        {"max_clip_s": 30},
        {"min_clip_s": 8, "max_clip_s": 4},
        {"min_clip_s": "x"},
        {"phase": "dance"},
    ],
)
def test_options_that_make_no_sense_are_refused(tmp_path, options):
    upload = UploadSpec("a", str(tmp_path / "a"), "a.wav")
    with pytest.raises(TrainerError, match=r"seconds|cannot be made|phases"):
        run(job(tmp_path / "job", [upload], **options))


def test_the_check_tells_right_from_wrong_transcripts(tmp_path):
    folder = job(tmp_path / "job", [], phase="check")
    clips = tmp_path / "clips"
    clips.mkdir()
    specs = []
    for index, text in enumerate([*SENTENCES, *SENTENCES[::-1]]):
        path = clips / f"{index}.wav"
        soundfile.write(path, said(SENTENCES[index % 4]), CLIP_HZ, subtype="PCM_16")
        measures = {"snr_db": 50.0, "match": 9.0}
        specs.append(ClipSpec(str(index), str(path), text, 3.0, measures=measures))
    specs.append(ClipSpec("no text", str(clips / "0.wav"), "", 3.0))
    specs.append(ClipSpec("gone", str(clips / "gone.wav"), "Words.", 3.0))
    specs.append(ClipSpec("klingon", str(clips / "0.wav"), "Qapla", 3.0, language="xx-klingon"))
    write_clips(folder, specs)
    lines = run(folder)
    told = {line["uid"]: line for line in of_kind(lines, "clip")}
    for index in range(4):
        assert told[str(index)]["measures"]["match"] < 0.4
        assert told[str(index)]["grade"] == "A"
        assert told[str(index + 4)]["reasons"] == ["words differ"]
        assert told[str(index)]["measures"]["snr_db"] == 50.0
    assert "match" not in told["no text"]["measures"]
    assert "match" not in told["klingon"]["measures"]
    assert any("gone" in line["message"] for line in of_kind(lines, "warning"))
    assert lines[-1]["result"]["doubtful"] == 4
    assert lines[-1]["result"]["unreadable"] == 1


def orders(folder: Path, *names: str) -> list[Order]:
    folder.mkdir()
    (folder / "clips").mkdir()
    found = []
    for index, name in enumerate(names):
        upload = store(folder, name, recording(1, seed=20 + index))
        found.append(Order(name, upload.path, name, str(folder / "clips")))
    return found


def pooled(pool: Pool, found: list[Order]) -> dict[str, Result]:
    results: dict[str, Result] = {}
    pool.run(
        found,
        on_clip=lambda line: None,
        on_seconds=lambda order, seconds: None,
        on_result=lambda result: results.update({result.order.name: result}),
        obey=lambda: None,
    )
    return results


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_a_decoder_that_crashes_hangs_or_eats_memory_costs_its_own_file_only(tmp_path):
    names = ("crash.wav", "fine.wav", "bug.wav", "eat.wav", "exit.wav", "spin.wav", "good.wav")
    with Pool(target=crashing_cutters.serve, block_cpu_s=1.0) as pool:
        results = pooled(pool, orders(tmp_path / "files", *names))
    problems = {name: result.problem for name, result in results.items()}
    assert set(problems) == set(names)
    assert problems["fine.wav"] == problems["good.wav"] == ""
    assert results["good.wav"].told["clips"] == 1
    assert "signal 11" in problems["crash.wav"]
    assert "exit 7" in problems["exit.wav"]
    assert "longer than 1 s" in problems["spin.wav"]
    assert "too much memory" in problems["eat.wav"]
    assert "a bug of ours" in problems["bug.wav"]
    assert all(name in problem for name, problem in problems.items() if problem)


@pytest.mark.slow
def test_while_somebody_speaks_one_process_works_at_a_time(tmp_path):
    """Two files of three blocks each; `most` says 1 from the first sign of life on."""
    hour = np.tile(recording(12), 4)
    found = []
    for name in ("a.wav", "b.wav"):
        upload = store(tmp_path, name, hour if name == "a.wav" else hour * 0.5)
        found.append(Order(name, upload.path, name, str(tmp_path)))
    order_of_blocks: list[str] = []
    with Pool() as pool:
        pool.run(
            found,
            on_clip=lambda line: None,
            on_seconds=lambda order, seconds: order_of_blocks.append(order.name),
            on_result=lambda result: order_of_blocks.append(result.order.name),
            obey=lambda: None,
            most=lambda: 1 if order_of_blocks else 0,
        )
    # Once both have said a block, one of them is held until the other has ended.
    rest = order_of_blocks[2:]
    assert len(rest) >= 6
    assert rest == sorted(rest) or rest == sorted(rest, reverse=True)


def test_a_full_disk_ends_the_work(tmp_path):
    with Pool(target=crashing_cutters.serve) as pool, pytest.raises(OSError) as caught:  # noqa: PT011 - errno is asserted
        pooled(pool, orders(tmp_path / "files", "full.wav"))
    assert caught.value.errno == errno.ENOSPC


@pytest.mark.slow
def test_a_killed_trainer_goes_on_without_gaps_and_doubles(tmp_path):
    uploads = [store(tmp_path / "files", f"{n}.wav", recording(12, seed=n)) for n in range(6)]
    whole = run(job(tmp_path / "whole", uploads, priority="normal"))
    folder = job(tmp_path / "job", uploads, priority="normal")
    command = [sys.executable, "-m", "voice_trainer", "process", str(folder)]
    kills = 0
    for wanted in (3, 9, 20, 35, 10_000):
        trainer = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL)
        children = set()
        while (
            trainer.poll() is None
            and len(of_kind(list(ProgressReader(folder).read()), "clip")) < wanted
        ):
            children |= set(psutil.Process(trainer.pid).children())
            time.sleep(0.01)  # a real process is watched from outside
        if trainer.poll() is None:
            kills += 1
        trainer.kill()
        trainer.wait()
        assert not psutil.wait_procs(children, timeout=10)[1]  # nobody is left behind
    lines = list(ProgressReader(folder).read())
    assert kills >= 2
    assert lines[-1]["kind"] == "done"
    uids = [line["uid"] for line in of_kind(lines, "clip")]
    assert len(uids) == len(set(uids))
    assert set(uids) == {line["uid"] for line in of_kind(whole, "clip")}
    for line in of_kind(lines, "clip"):
        assert hashlib.sha256((folder / line["path"]).read_bytes()).hexdigest() == line["sha256"]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="resource")
def test_forty_minutes_need_the_memory_of_one(tmp_path):
    minute = resample(recording(12), CLIP_HZ, 48_000)
    path = tmp_path / "long.wav"
    with soundfile.SoundFile(path, "w", 48_000, 2, "PCM_16") as file:
        for index in range(48):
            # Never twice the same sound: no clip may be told twice.
            file.write(np.stack([minute, minute], axis=1) * (0.5 + index / 100))
    folder = job(tmp_path / "job", [UploadSpec("long", str(path), "long.wav")], priority="normal")
    code = (
        "import resource, sys; from voice_trainer.__main__ import main;"
        "main(['process', sys.argv[1]]); print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(folder)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    lines = list(ProgressReader(folder).read())
    assert lines[-1]["kind"] == "done"
    assert of_kind(lines, "file")[0]["seconds"] > 2300
    covered = sum(line["duration_s"] for line in of_kind(lines, "clip"))
    speech = sum(said(SENTENCES[n % 4]).size for n in range(12)) * 48 / CLIP_HZ
    assert covered > 0.9 * speech
    assert int(done.stdout.split()[-1]) < 600_000  # kB
