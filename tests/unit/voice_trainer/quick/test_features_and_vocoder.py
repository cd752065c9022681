"""Features out of sound and sound out of features, tested with signals."""

from __future__ import annotations

import itertools

import numpy as np
import numpy.typing as npt
import pytest
import torch

from backend.audio import espeak
from backend.audio.levels import from_pcm16
from backend.audio.resample import resample
from voice_trainer.quick import features, vocoder

RATES = sorted(features.GRIDS)


@pytest.fixture(scope="module")
def speech() -> dict[int, npt.NDArray[np.float32]]:
    said = espeak.synthesize("She sells fresh fish, and nobody minds.", "en-us+f2")
    samples = from_pcm16(said.pcm)
    return {rate: resample(samples, said.rate_hz, rate) for rate in RATES}


def spoken(clip: features.Features) -> npt.NDArray[np.float32]:
    envelope, aperiodicity, log_f0, voiced = (
        torch.from_numpy(np.asarray(part, dtype=np.float32))[None]
        for part in (clip.envelope, clip.aperiodicity, clip.log_f0, clip.voiced)
    )
    sound = vocoder.Vocoder(clip.rate_hz)(envelope, aperiodicity, torch.exp(log_f0), voiced)
    return sound[0].numpy()


@pytest.mark.parametrize("rate", RATES)
def test_frames_are_ten_milliseconds_and_one_more(rate, speech):
    clip = features.extract(speech[rate], rate)
    assert len(clip) == len(speech[rate]) // features.grid(rate).hop + 1
    assert clip.targets().shape == (len(clip), features.grid(rate).width)
    assert features.grid(rate).frame_ms == pytest.approx(10.0, abs=0.03)


def test_a_rate_without_frames_is_refused_with_the_choices():
    with pytest.raises(ValueError, match=r"16,000 or 22,050 samples per second, not 44100"):
        features.grid(44_100)


@pytest.mark.parametrize("rate", RATES)
def test_a_tone_of_220_hz_is_measured_and_spoken_at_220_hz(rate):
    times = np.arange(rate) / rate
    harmonics = sum(np.sin(2 * np.pi * 220 * k * times) / k for k in range(1, 12))
    clip = features.extract((0.2 * harmonics).astype(np.float32), rate)
    middle = slice(20, 80)
    assert clip.voiced[middle].all()
    assert np.exp(clip.log_f0[middle]) == pytest.approx(220.0, abs=0.5)
    out = spoken(clip)[rate // 4 : rate * 3 // 4]
    spectrum = np.abs(np.fft.rfft(out * np.hanning(len(out)), 8 * len(out)))
    low = np.fft.rfftfreq(8 * len(out), 1 / rate) < 330
    peak_hz = np.fft.rfftfreq(8 * len(out), 1 / rate)[low][spectrum[low].argmax()]
    assert peak_hz == pytest.approx(220.0, abs=1.0)


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.slow
def test_the_vocoder_is_as_loud_as_worlds_own_synthesis(rate):
    import pyworld

    frames, ratios = features.grid(rate), []
    # Where the pulses happen to lie moves one clip by a percent or two; that averages out.
    texts = (
        "She sells fresh fish, and nobody minds.",
        "Nine noble gulls.",
        "Who took my blue umbrella?",
    )
    for voice, text in itertools.product(("en-us", "en-us+f2", "de+m3", "en-us+m5"), texts):
        said = espeak.synthesize(text, voice)
        clip = features.extract(resample(from_pcm16(said.pcm), said.rate_hz, rate), rate)
        envelope, aperiodicity = (
            clip.envelope.astype(np.float64),
            clip.aperiodicity.astype(np.float64),
        )
        theirs = pyworld.synthesize(
            np.where(clip.voiced, np.exp(clip.log_f0), 0.0).astype(np.float64),
            pyworld.decode_spectral_envelope(envelope, rate, frames.fft_size),
            pyworld.decode_aperiodicity(aperiodicity, rate, frames.fft_size),
            rate,
            frames.frame_ms,
        )
        ratios.append(spoken(clip).std() / theirs.std())
    # 0.98 to 1.01 (0.2 dB), by what espeak happened to say before: its noise is never the same twice.
    assert np.mean(ratios) == pytest.approx(1.0, abs=0.025)


@pytest.mark.parametrize("rate", RATES)
def test_worlds_decoders_are_the_stored_matrices(rate):
    import pyworld

    frames = features.grid(rate)
    rng = np.random.default_rng(3)
    codes = 0.3 * rng.standard_normal((4, features.ENVELOPE_SIZE))
    matrix, offset = vocoder.envelope_map(rate)
    theirs = np.log(pyworld.decode_spectral_envelope(codes, rate, frames.fft_size))
    assert codes @ matrix + offset == pytest.approx(theirs, abs=1e-9)
    bands = rng.uniform(-40.0, -2.0, (4, frames.bands))
    matrix, offset = vocoder.aperiodicity_map(rate)
    theirs = 20 * np.log10(pyworld.decode_aperiodicity(bands, rate, frames.fft_size))
    assert bands @ matrix + offset == pytest.approx(theirs, abs=1e-6)


def test_minimum_phase_is_that_of_a_filter_known_to_have_it():
    taps = np.array([1.0, -0.6, 0.25])  # both zeros lie inside the unit circle
    spectrum = np.fft.rfft(taps, 1024)
    phase = np.log(np.abs(spectrum)) @ vocoder.minimum_phase_matrix(1024)
    assert phase == pytest.approx(np.angle(spectrum), abs=1e-6)


def test_what_is_unvoiced_has_no_pitch_left_and_breath_leaves_it_alone():
    frames, grid = 100, features.grid(16_000)
    flat = torch.zeros(1, frames, features.ENVELOPE_SIZE)
    noise = torch.full((1, frames, grid.bands), -20.0)
    f0 = torch.full((1, frames), 200.0)
    speak = vocoder.Vocoder(16_000)
    whispered = speak(flat, noise, f0, torch.zeros(1, frames))
    assert torch.equal(whispered, speak(flat, noise, f0, torch.zeros(1, frames), 0.0))
    middle = whispered[0, 1600:-1600].numpy()
    lag = middle[80:] @ middle[:-80] / (middle @ middle)  # 80 samples: one period of 200 Hz
    assert abs(lag) < 0.1


def test_breath_is_the_noise_of_voiced_frames(speech):
    clip = features.extract(speech[16_000], 16_000)
    parts = [
        torch.from_numpy(np.asarray(part, dtype=np.float32))[None]
        for part in (clip.envelope, clip.aperiodicity, np.exp(clip.log_f0))
    ]
    voiced = torch.ones(1, len(clip))
    speak = vocoder.Vocoder(16_000)
    none, usual, double = (speak(*parts, voiced, breath) for breath in (0.0, 1.0, 2.0))
    assert double - none == pytest.approx((2 * (usual - none)).numpy(), abs=1e-4)
    assert float((usual - none).abs().max()) > 1e-3


def test_statistics_take_the_speaker_out_of_the_frames(speech):
    clip = features.extract(speech[22_050], 22_050)
    about = features.SpeakerStatistics.of([clip.targets()])
    normal = (clip.targets() - about.mean) / about.std
    assert normal[:, : features.ENVELOPE_SIZE].mean(axis=0) == pytest.approx(0.0, abs=1e-3)
    assert normal[:, : features.ENVELOPE_SIZE].std(axis=0) == pytest.approx(about.spread, rel=1e-2)
    assert normal[clip.voiced, -2].std() == pytest.approx(1.0, rel=1e-3)
    assert set(np.unique(normal[:, -1])) == {0.0, 1.0}
