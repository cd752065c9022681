"""Alignment search against a plain reference that tries every path."""

from __future__ import annotations

import itertools
import sys

import numpy as np
import pytest
import torch

from voice_trainer.align import monotonic
from voice_trainer.vits.network import QUALITIES, build


def plain_best_path(values: np.ndarray) -> np.ndarray:
    """Every monotonic path through (frames, phonemes), scored in float64; of equals the one that moves on latest."""
    frames, phonemes = values.shape
    best, best_score = None, -np.inf
    # Moves chosen from late to early, so that the first of equals is the latest.
    for moves in itertools.combinations(range(frames - 1, 0, -1), phonemes - 1):
        path = np.zeros(values.shape, np.float32)
        place = 0
        for frame in range(frames):
            place += frame in moves
            path[frame, place] = 1
        score = float((path * values.astype(np.float64)).sum())
        if score > best_score + 1e-9:
            best, best_score = path, score
    assert best is not None
    return best


def searches() -> list[monotonic.Search]:
    compiled = monotonic.search_by_numba()
    assert compiled is not None
    return [monotonic.search_by_numpy, compiled]


@pytest.mark.parametrize("kind", [0, 1], ids=["numpy", "numba"])
def test_the_path_is_the_best_of_all_paths(kind: int) -> None:
    generator = np.random.default_rng(3)
    shapes = [(1, 1), (5, 1), (5, 5), (7, 3), (9, 4), (6, 5)]
    values = np.full((len(shapes), 9, 5), 50.0, np.float32)  # outside looks tempting
    for pair, (frames, phonemes) in enumerate(shapes):
        values[pair, :frames, :phonemes] = generator.normal(size=(frames, phonemes)) - 3.0
    paths = searches()[kind](
        values,
        np.array([frames for frames, _ in shapes], np.int32),
        np.array([phonemes for _, phonemes in shapes], np.int32),
    )
    for pair, (frames, phonemes) in enumerate(shapes):
        wanted = np.zeros((9, 5), np.float32)
        wanted[:frames, :phonemes] = plain_best_path(values[pair, :frames, :phonemes])
        np.testing.assert_array_equal(paths[pair], wanted)


@pytest.mark.parametrize("kind", [0, 1], ids=["numpy", "numba"])
def test_of_equal_paths_the_one_that_moves_later_wins(kind: int) -> None:
    # Sums of small halves are exact, so ties are ties.
    generator = np.random.default_rng(4)
    for _ in range(20):
        values = generator.integers(-2, 3, size=(1, 6, 3)).astype(np.float32) / 2
        found = searches()[kind](values, np.array([6], np.int32), np.array([3], np.int32))[0]
        assert (found * values[0]).sum() == (plain_best_path(values[0]) * values[0]).sum()
        np.testing.assert_array_equal(found, _latest(values[0]))


def _latest(values: np.ndarray) -> np.ndarray:
    """The rule of the original code, cell by cell: walking back, stay unless moving was better."""
    frames, phonemes = values.shape
    best = np.full((frames, phonemes), -np.inf)
    best[0, 0] = values[0, 0]
    for frame in range(1, frames):
        for place in range(phonemes):
            move = best[frame - 1, place - 1] if place else -np.inf
            best[frame, place] = max(best[frame - 1, place], move) + values[frame, place]
    path = np.zeros(values.shape, np.float32)
    place = phonemes - 1
    for frame in range(frames - 1, -1, -1):
        path[frame, place] = 1
        if place and best[frame - 1, place] < best[frame - 1, place - 1]:
            place -= 1
    return path


def test_numba_and_numpy_agree_on_sizes_of_real_clips() -> None:
    generator = np.random.default_rng(5)
    values = generator.normal(size=(4, 300, 90)).astype(np.float32) * 20 - 400
    frames = np.array([300, 280, 120, 90], np.int32)
    phonemes = np.array([90, 40, 77, 90], np.int32)
    by_numpy, by_numba = (search(values, frames, phonemes) for search in searches())
    np.testing.assert_array_equal(by_numpy, by_numba)
    np.testing.assert_array_equal(by_numpy.sum(axis=(1, 2)), frames)


def test_tensors_keep_their_type_and_device() -> None:
    mask = torch.ones(1, 4, 2)
    path = monotonic.maximum_path(torch.zeros(1, 4, 2, dtype=torch.bfloat16), mask)
    assert path.dtype == torch.bfloat16
    assert path.sum(2).tolist() == [[1.0] * 4]


def test_more_phonemes_than_frames_is_said_in_words() -> None:
    with pytest.raises(ValueError, match="3 frames for 5 phonemes"):
        monotonic.best_paths(
            np.zeros((1, 3, 5), np.float32), np.array([3], np.int32), np.array([5], np.int32)
        )


def test_the_networks_of_piper_find_the_search(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, monotonic.PIPER_MODULE, raising=False)
    build(QUALITIES["tiny"])
    assert sys.modules[monotonic.PIPER_MODULE].maximum_path is monotonic.maximum_path
