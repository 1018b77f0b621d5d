"""Fitting what answers are worth, on queries whose truth is known; ``utils/calibration.py`` applies it."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike
from sklearn.linear_model import LogisticRegression, QuantileRegressor
from sklearn.preprocessing import StandardScaler

from utils.calibration import (
    FEATURES,
    LEAST_RADIUS_KM,
    LEVELS,
    MARGIN_KM,
    Calibration,
    Calibrations,
    Outlook,
    Sources,
    error_scale,
)
from utils.decoding import METHODS, Decoder
from utils.evaluation.cases import Case, picked_errors
from utils.evaluation.fit import fit_similarity_weight, fit_temperature
from utils.evaluation.stated import case_outlooks
from utils.geography.geodesy import THRESHOLDS_KM, haversine_km
from utils.model.adapter_info import AdapterInfo

LEAST_QUERIES = 200  # fewer say too little of a level of 95%
SCALE_QUANTILES = (0.6, 0.7, 0.8, 0.9)  # of the errors that a scale may stand for
SMALL_LEVEL = 0.9  # the scale is chosen whose regions of this level are smallest
LEAST_SHARE = 0.002  # of the queries: numbers of candidates that fewer have say too little
LEAST_SIZE = 1e-3  # of a region: its disc has LEAST_RADIUS_KM
DIGITS = 6  # of the stored numbers


def fit_calibration(outlooks: Sequence[Outlook], truths: ArrayLike, errors_km: ArrayLike) -> Calibration:
    """The calibration of one way of deciding.

    Args:
        outlooks: of n answers.
        truths: (n, 2) degrees.
        errors_km: (n,) geodesic km between truth and answer.

    The sizes of the regions are cross-conformal (Vovk 2015): what each half of the queries needs, in scales that were
    fitted on the other half. The scale in use and the confidence are fitted on all. Raises ``ValueError`` for fewer
    than ``LEAST_QUERIES``.
    """
    truths, errors_km = np.asarray(truths, dtype=np.float64), np.asarray(errors_km, dtype=np.float64)
    if len(outlooks) < LEAST_QUERIES:
        raise ValueError(f"{len(outlooks)} queries are too few to calibrate on: at least {LEAST_QUERIES}")
    features = np.stack([known.features for known in outlooks])  # (n, FEATURES)
    odds = [_fit_odds(features, errors_km < radius) for radius in THRESHOLDS_KM]
    reach = np.array([reach_km(known, *truth) for known, truth in zip(outlooks, truths, strict=True)])
    log_reach = np.log(reach)
    quantile, scale = _smallest_scale(features, log_reach)
    scores = np.empty(len(reach))
    for own in (np.arange(len(reach)) % 2 == half for half in (0, 1)):
        other = _fit_scale(features[~own], log_reach[~own], quantile)
        scores[own] = [least_size(outlooks[number], other, *truths[number]) for number in np.flatnonzero(own)]
    sizes = [conformal_quantile(scores, level / 100) for level in LEVELS]
    rounded = [[float(f"{value:.{DIGITS}g}") for value in values] for values in (*odds, scale, sizes)]
    return Calibration(tuple(map(tuple, rounded[:-2])), tuple(rounded[-2]), tuple(rounded[-1]), len(outlooks))


def calibrated(cases: Sequence[Case], info: AdapterInfo, sources: Sources) -> AdapterInfo:
    """``info`` with all that is fitted on ``cases``, which have rewards and candidates of ``sources``.

    Temperature and similarity weight; and, where there are enough cases, what the answers of each of ``METHODS`` are
    worth.
    """
    temperature = fit_temperature([(case.rewards, case.distances) for case in cases])
    weight, _ = fit_similarity_weight([(case.rewards, case.similarities, case.distances) for case in cases])
    fitted = {"temperature": temperature, "similarity_weight": weight}
    return replace(info, **fitted, calibration=fit_methods(cases, sources, **fitted))


def fit_methods(cases: Sequence[Case], sources: Sources, **fitted: float) -> Calibrations | None:
    """The calibration of each of ``METHODS`` that can decode the cases; None for too few cases."""
    similar = any(case.evidence.has_similarity for case in cases)
    methods = {name: method for name, method in METHODS.items() if similar or not method.fused}
    return fit_decoders(cases, sources, {name: method.decoder(**fitted) for name, method in methods.items()})


def fit_decoders(cases: Sequence[Case], sources: Sources, decoders: Mapping[str, Decoder]) -> Calibrations | None:
    """The calibration of each decoder by its name; None for too few cases."""
    if len(cases) < LEAST_QUERIES:
        return None
    picks = {name: np.array([decoder.pick(case.evidence) for case in cases]) for name, decoder in decoders.items()}
    methods = {name: fit_decoder(cases, picks[name], decoder) for name, decoder in decoders.items()}
    return Calibrations(sources, methods, counts_of(cases))


def counts_of(cases: Sequence[Case]) -> tuple[tuple[int, int], ...]:
    """How many retrieved and generated candidates the ``cases`` have: the pairs of at least ``LEAST_SHARE`` of them."""
    found = Counter(case.counts for case in cases)
    return tuple(sorted(pair for pair, times in found.items() if times >= LEAST_SHARE * len(cases)))


def fit_decoder(cases: Sequence[Case], picks: np.ndarray, decoder: Decoder) -> Calibration:
    """The calibration of one decoder that picks ``picks`` (cases,). Raises what ``fit_calibration`` raises."""
    truths = np.array([(case.query.latitude, case.query.longitude) for case in cases])
    return fit_calibration(case_outlooks(cases, picks, decoder), truths, picked_errors(cases, picks))


def reach_km(known: Outlook, latitude: float, longitude: float) -> float:
    """How far the answer's disc has to reach for the region to hold a truth in degrees, plus ``MARGIN_KM``."""
    distances = haversine_km(latitude, longitude, *known.points.T) + MARGIN_KM
    return float((distances / np.maximum(known.shares, 1e-9)).min())


def least_size(known: Outlook, scale: Sequence[float], latitude: float, longitude: float) -> float:
    """The smallest size, in scales, of the region that holds a truth in degrees; ``LEAST_SIZE`` where any does."""
    if haversine_km(latitude, longitude, *known.points[0]) <= LEAST_RADIUS_KM:
        return LEAST_SIZE
    return reach_km(known, latitude, longitude) / error_scale(scale, known)


def conformal_quantile(scores: ArrayLike, level: float) -> float:
    """The smallest score that is at least as large as a share ``level`` of the ``scores`` (n,) and one more."""
    rank = int(np.ceil((len(scores) + 1) * level))
    return float(np.sort(scores)[min(rank, len(scores)) - 1])


def _fit_odds(features: np.ndarray, is_near: np.ndarray) -> np.ndarray:
    """(1 + FEATURES,) of a logistic regression; the odds of the rate alone where all answers are alike."""
    if is_near.all() or not is_near.any():
        rate = (is_near.sum() + 1) / (len(is_near) + 2)
        return np.concatenate([[np.log(rate / (1 - rate))], np.zeros(FEATURES)])
    scaler = StandardScaler().fit(features)
    fitted = LogisticRegression(C=1.0, max_iter=1000).fit(scaler.transform(features), is_near)
    return _unscaled(scaler, fitted.coef_[0], fitted.intercept_[0])


def _smallest_scale(features: np.ndarray, log_reach: np.ndarray) -> tuple[float, np.ndarray]:
    """Of the scales for ``SCALE_QUANTILES`` that whose median region of ``SMALL_LEVEL`` is smallest, and its quantile.

    Where errors are alike, the scale of the large ones serves best; where a few are wild, that of the many.
    """
    tried = []
    for quantile in SCALE_QUANTILES:
        scale = _fit_scale(features, log_reach, quantile)
        log_scale = scale[0] + features @ scale[1:]
        tried.append((float(np.quantile(log_reach - log_scale, SMALL_LEVEL) + np.median(log_scale)), quantile, scale))
    _, quantile, scale = min(tried, key=lambda found: found[0])
    return quantile, scale


def _fit_scale(features: np.ndarray, log_reach: np.ndarray, quantile: float) -> np.ndarray:
    """(1 + FEATURES,) of a quantile regression of the logarithm of the reach."""
    scaler = StandardScaler().fit(features)
    fitted = QuantileRegressor(quantile=quantile, alpha=1e-3, solver="highs")
    fitted.fit(scaler.transform(features), log_reach)
    return _unscaled(scaler, fitted.coef_, float(fitted.intercept_))


def _unscaled(scaler: StandardScaler, weights: np.ndarray, intercept: float) -> np.ndarray:
    """Intercept and weights for features as they are."""
    own = weights / scaler.scale_
    return np.concatenate([[intercept - own @ scaler.mean_], own])
