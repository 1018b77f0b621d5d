"""What is fitted on validation queries: the temperature of the rewards, and the weight of similarities."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import minimize
from scipy.special import logsumexp, softmax

from utils.decoding import fill_unknown


def fit_temperature(groups: Sequence[tuple[ArrayLike, ArrayLike]]) -> float:
    """The temperature that makes the nearest candidate of validation queries likeliest.

    ``groups`` holds ``(rewards, distances)`` of each query, (n,) each, distances to the truth in km. The mean
    of ``-log p(nearest)`` is minimised; candidates that share the smallest distance share the credit. The
    temperature lies between 1/100 and 100 times the spread of rewards within groups, so a perfect ranker gets
    no temperature of 0 and a useless one no infinite one. Scaling all rewards scales it.
    """
    (inverse,) = _fit([(np.asarray(rewards)[None], distances) for rewards, distances in groups], [0.01])
    return float(1 / inverse)


def fit_similarity_weight(groups: Sequence[tuple[ArrayLike, ArrayLike, ArrayLike]]) -> tuple[float, float]:
    """``(weight, temperature)``: the weight for ``fuse`` and the temperature of the fused rewards.

    ``groups`` holds ``(rewards, similarities, distances)`` of each validation query. Both are fitted together
    on the objective of ``fit_temperature``, a conditional logit in reward and similarity. The weight is at
    least 0; candidates without a similarity (NaN) are treated as in ``fuse``. Where similarities say nothing, since
    none is known or those of a query are all the same, it is 0.
    """
    features = [(np.stack([rewards, fill_unknown(likeness)]), distances) for rewards, likeness, distances in groups]
    if not any(np.ptp(values[1]) for values, _ in features):
        return 0.0, fit_temperature([(values[0], distances) for values, distances in features])
    inverse, likeness = _fit(features, [0.01, 0.0])
    return float(likeness / inverse), float(1 / inverse)


def _fit(groups: Sequence[tuple[np.ndarray, ArrayLike]], least: Sequence[float]) -> np.ndarray:
    """Weights (f,) of a conditional logit that picks the nearest candidate of each group.

    ``groups`` holds ``(features (f, n), distances (n,))``. Features are scaled to a spread of 1 within groups
    so that their units do not matter, and the weights of those are bounded by ``least`` and 100. The
    objective is convex but where nearest candidates tie.
    """
    sizes = [len(distances) for _, distances in groups]
    features = np.zeros((len(groups), len(least), max(sizes)))
    # Added to logits, 0 keeps a candidate and -inf leaves it out.
    present, nearest = np.full((2, len(groups), max(sizes)), -np.inf)
    for row, ((values, distances), size) in enumerate(zip(groups, sizes, strict=True)):
        features[row, :, :size] = values - np.mean(values, axis=1, keepdims=True)
        present[row, :size] = 0
        nearest[row, :size][np.asarray(distances) == np.min(distances)] = 0
    spread = np.sqrt((features**2).sum(axis=(0, 2)) / sum(sizes))
    spread[spread == 0] = 1
    features /= spread[:, None]

    def objective(weights: np.ndarray) -> tuple[float, np.ndarray]:
        logits = np.einsum("f,gfn->gn", weights, features)
        everything, close = logits + present, logits + nearest
        loss = logsumexp(everything, axis=1) - logsumexp(close, axis=1)
        pull = softmax(everything, axis=1) - softmax(close, axis=1)
        return loss.mean(), np.einsum("gn,gfn->f", pull, features) / len(groups)

    bounds = [(low, 100.0) for low in least]
    return minimize(objective, np.ones(len(least)), jac=True, method="L-BFGS-B", bounds=bounds).x / spread
