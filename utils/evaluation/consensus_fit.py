"""The weights of a consensus without a ranker, chosen on queries whose truth is known, and what they are worth there.

The weights are ``guess_weight``, ``rank_decay`` and ``scale_km`` of ``utils.decoding.Decoder``. All of ``GRID`` is
tried; the best mean accuracy over ``THRESHOLDS_KM`` wins, the first of equals.
"""

from collections.abc import Sequence
from itertools import product

import numpy as np

from utils.decoding import Decoder, shares
from utils.evaluation.cases import Case, picked_errors
from utils.evaluation.fit_calibration import fit_decoder
from utils.evaluation.stated import Stated
from utils.geography.geodesy import THRESHOLDS_KM, distance_matrix_km

GUESS_WEIGHTS = (0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0)
RANK_DECAYS = (0.0, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.25, 0.3, 0.5)
SCALES_KM = (25.0, 50.0, 100.0, 150.0, 200.0, 250.0, 300.0, 400.0, 600.0, 800.0, 1600.0)
GRID = [
    Decoder(reward_weight=0.0, guess_weight=weight, rank_decay=decay, scale_km=scale_km)
    for weight, decay, scale_km in product(GUESS_WEIGHTS, RANK_DECAYS, SCALES_KM)
]


def grid_picks(cases: Sequence[Case]) -> np.ndarray:
    """(len(GRID), cases): the candidate that each decoder of ``GRID`` picks, as its ``pick`` does, only faster."""
    weightings = GRID[:: len(SCALES_KM)]
    scales = np.array(SCALES_KM)[:, None, None]
    picks = np.empty((len(weightings), len(SCALES_KM), len(cases)), dtype=int)
    for number, case in enumerate(cases):
        weights = np.stack([shares(decoder.scores(case.evidence)) for decoder in weightings])  # (w, n)
        closeness = np.exp(-distance_matrix_km(case.points) / scales)  # (s, n, n), symmetric
        picks[:, :, number] = (weights @ closeness).argmax(axis=2).T  # from (s, w, n)
    return picks.reshape(len(GRID), len(cases))


def goodness(cases: Sequence[Case], picks: np.ndarray) -> np.ndarray:
    """(decoders, cases): share of ``THRESHOLDS_KM``, in percent, that each pick of (decoders, cases) lies within."""
    errors = np.stack([picked_errors(cases, row) for row in picks])
    return 100 * (errors[:, :, None] < THRESHOLDS_KM).mean(axis=2)


def best(goodness: np.ndarray) -> int:
    """Row of ``goodness`` (decoders, cases) with the highest mean, the first of equals."""
    return int(goodness.mean(axis=1).argmax())


def deal(cases: int, folds: int, seed: int) -> np.ndarray:
    """The fold of each case, at random: (cases,). Raises ``ValueError`` where a fold would be empty."""
    if folds > cases:
        raise ValueError(f"{cases} queries are too few for {folds} folds")
    return np.random.default_rng(seed).permutation(cases) % folds


def cross_validated(goodness: np.ndarray, picks: np.ndarray, fold_of: np.ndarray) -> tuple[np.ndarray, list[int]]:
    """What queries get that had no part in the choice: picks (cases,), and the row that was chosen for each fold.

    Each fold is answered by the decoder that is best on all others. This is nested cross-validation: a decoder of the
    grid learns nothing, so an inner one would find just its mean over the others. ``goodness`` and ``picks`` are
    (decoders, cases), ``fold_of`` is (cases,).
    """
    found, chosen = np.empty(len(fold_of), dtype=int), []
    for fold in range(fold_of.max() + 1):
        chosen.append(best(goodness[:, fold_of != fold]))
        found[fold_of == fold] = picks[chosen[-1], fold_of == fold]
    return found, chosen


def stated_across(cases: Sequence[Case], picks: np.ndarray, fold_of: np.ndarray, chosen: Sequence[int]) -> Stated:
    """What is stated of queries that had no part in the choice or the calibration: each fold by those of the others.

    ``picks`` (decoders, cases), ``fold_of`` (cases,), and the row that is ``chosen`` for each fold. Raises what
    ``fit_calibration`` raises for too few queries.
    """
    parts = []
    for fold, row in enumerate(chosen):
        others, own = np.flatnonzero(fold_of != fold).tolist(), np.flatnonzero(fold_of == fold).tolist()
        calibration = fit_decoder([cases[number] for number in others], picks[row, others], GRID[row])
        parts.append(Stated.of([cases[number] for number in own], picks[row, own], GRID[row], calibration))
    return Stated.together(parts)
