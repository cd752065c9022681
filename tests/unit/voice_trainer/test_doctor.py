"""The dataset doctor: seeded faults are found, a clean set is ready, the words are for people."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from backend.audio.levels import to_pcm16
from backend.audio.wav import to_wav
from benchmarks import doctor as bench
from voice_trainer import doctor
from voice_trainer.loop import Reporter, Stopped, TrainerError
from voice_trainer.protocol import (
    ClipSpec,
    Control,
    JobSpec,
    ProgressReader,
    read_prompts,
    write_clips,
    write_control,
    write_job,
)

VOICE = "en-us+m1"


def job(folder: Path, clips: list[bench.Made], **options: object) -> Path:
    write_job(folder, JobSpec("job", "doctor", language="en-us", options=options))
    specs = []
    for number, clip in enumerate(clips):
        path = folder / f"{number}.wav"
        path.write_bytes(to_wav(to_pcm16(clip.samples), clip.rate_hz))
        specs.append(
            ClipSpec(clip.spec.uid, path.name, clip.spec.text, clip.spec.duration_s, grade="A")
        )
    write_clips(folder, specs)
    return folder


def examined(folder: Path) -> list[dict]:
    reporter = Reporter(folder)
    try:
        doctor.run(folder, reporter)
    finally:
        reporter.close()
    return list(ProgressReader(folder).read())


def findings(lines: list[dict]) -> dict[str, dict]:
    return {line["code"]: line for line in lines if line["kind"] == "finding"}


def test_a_clean_set_is_ready_and_the_report_comes_before_done(tmp_path):
    lines = examined(job(tmp_path, list(bench.clips_of(VOICE, 20))))
    assert [line["kind"] for line in lines[-3:]] == ["report", "state", "done"]
    assert {line["severity"] for line in lines if line["kind"] == "finding"} <= {
        "ok", "warning", "hint",
    }  # fmt: skip
    report = lines[-3]
    assert report["minutes"]["A"] == pytest.approx(
        sum(clip.spec.duration_s for clip in bench.clips_of(VOICE, 20)) / 60, abs=0.01
    )
    assert sum(count for _, _, count in report["lengths"]) == 20
    assert 0.7 < report["coverage"] <= 1
    assert all(one.startswith("en-us-") for one in report["suggestions"])
    assert findings(lines)["too_little"]["value"] < 1.5


def test_recorded_prompts_are_not_suggested(tmp_path):
    lines = examined(job(tmp_path, list(bench.clips_of(VOICE, 3)), recorded=["en-us-4"]))
    assert "en-us-4" not in lines[-3]["suggestions"]
    assert "en-us-5" in lines[-3]["suggestions"]
    fix = findings(lines)["coverage"]["fix"]
    first = int(lines[-3]["suggestions"][0].rpartition("-")[2])
    assert read_prompts("en-us")[first - 1] in fix
    assert "en-us-" not in fix


@pytest.mark.slow  # many sets of clips
def test_every_measurable_fault_is_found_and_nothing_is_blamed_for_it(tmp_path):
    results = bench.Results()
    bench.measurable(VOICE, bench.Examiner(tmp_path, results), results, 30, seed=5)
    missed = {name: count for name, count in results.counts.items() if count.rate < 1}
    assert not missed
    alarms = sum(count.alarms for count in results.counts.values())
    assert alarms / sum(count.clean for count in results.counts.values()) < 0.05


@pytest.mark.slow
def test_swapped_and_half_transcripts_are_found(tmp_path):
    results = bench.Results()
    bench.transcripts("es+pedro", bench.Examiner(tmp_path, results), results, 14, seed=2)
    for kind in ("swapped", "half missing"):
        count = results.at(f"transcript: {kind}")
        assert count.rate >= 0.9
        assert count.false <= 0.05
    assert results.at("transcript: nothing seeded").alarms == 0


@pytest.mark.slow
def test_a_foreign_voice_among_the_clips_is_found(tmp_path):
    results = bench.Results()
    pairs = bench.voices(("en-us+m1", "en-us+f2"), bench.Examiner(tmp_path, results), results, 20, 1)  # fmt: skip
    assert min(pairs.values()) >= 0.9
    assert results.at("voices: all").false <= 0.05
    assert results.at("voices: nothing seeded").alarms == 0


def test_most_transcripts_being_wrong_does_not_make_wrong_usual(tmp_path):
    results = bench.Results()
    clips = bench.clips_of(VOICE, 10)
    examiner = bench.Examiner(tmp_path, results)
    changed = []
    for number, clip in enumerate(clips):
        text = clips[(number + 3) % 10].spec.text if number < 9 else clip.spec.text
        spec = ClipSpec(clip.spec.uid, "", text, clip.spec.duration_s)
        changed.append(examiner.examine(bench.Made(spec, clip.samples, clip.rate_hz), "en-us"))
    wrong, _ = doctor.judged_transcripts(changed)
    assert {one.clip.uid for one in wrong} >= {clip.spec.uid for clip in clips[:7]}


def test_a_file_that_is_no_sound_is_named_and_the_rest_goes_on(tmp_path):
    folder = job(tmp_path, list(bench.clips_of(VOICE, 8)))
    (folder / "3.wav").write_bytes(b"RIFF\xff\xff\xff\xffWAVEnonsense")
    (folder / "4.wav").unlink()
    (folder / "5.wav").write_bytes(to_wav(bytes(44_100), 22_050))
    found = findings(examined(folder))["unreadable"]
    assert found["severity"] == "problem"
    assert len(found["clips"]) == 3


def test_the_verdict_says_whether_to_train():
    ok = doctor.Finding("x", "ok", "Fine")
    warning = doctor.Finding("x", "warning", "3 clips noisy")
    problem = doctor.Finding("x", "problem", "Too little to train")
    assert doctor.verdict([ok]) == "Ready to train."
    assert doctor.verdict([ok, warning]).startswith("Works, better")
    assert doctor.verdict([warning, problem]) == "Not yet: too little to train."


def test_a_job_without_clips_says_what_to_do(tmp_path):
    with pytest.raises(TrainerError, match="Record or import"):
        examined(job(tmp_path, []))


def test_it_stops_between_two_clips_when_asked(tmp_path):
    folder = job(tmp_path, list(bench.clips_of(VOICE, 4)))
    write_control(folder, Control(order="stop"))
    with pytest.raises(Stopped):
        examined(folder)
    assert not [line for line in ProgressReader(folder).read() if line["kind"] == "finding"]


def test_silences_are_measured_to_a_few_hundredths():
    rate = 16_000
    t = np.arange(rate) / rate
    tone = (0.3 * np.sin(2 * np.pi * 220 * t)).astype(np.float32)
    quiet = np.zeros(rate, np.float32)
    sound = np.concatenate([quiet, tone, quiet, quiet, tone, quiet[: rate // 2]])
    lead, tail, pause, speech = doctor.silences(sound, rate)
    assert lead == pytest.approx(1.0, abs=0.04)
    assert tail == pytest.approx(0.5, abs=0.04)
    assert pause == pytest.approx(2.0, abs=0.06)
    assert speech == pytest.approx(2.0, abs=0.06)


def test_text_in_another_script_is_told():
    clip = doctor.Examined(ClipSpec("a", "a.wav", "Привет всем", 3.0), {"duration_s": 3.0})
    [found] = doctor._scripts([clip], "en-us")
    assert found.clips == ("a",)
    assert doctor._scripts([clip], "ru") == []


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_benchmark_holds_on_voices_that_set_no_threshold():
    names = [voice for voice in bench.TESTED if bench.is_here(voice)]
    results, _ = bench.measure(names, bench.CLIPS)
    assert bench.is_good(results), results.counts
