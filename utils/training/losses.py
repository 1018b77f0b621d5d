"""Losses that teach rewards to follow geodesic distance (paper 2505.13731): nearer candidates score higher.

Both losses are negative log-likelihoods of a Plackett-Luce model: items are picked one after the other, each
with a probability proportional to exp(score) among those left. A loss takes the candidates of one query and
puts them in order of true distance by a stable sort, so the order of the input matters only where distances
(in the second-order loss: differences of distances) are exactly equal; there it is kept.

Half-precision scores are computed in float32; float64 stays float64.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor


def first_order_loss(scores: Tensor, distances: Tensor, K: int | None = 1) -> Tensor:
    """Plackett-Luce over the K nearest of one query's n candidates (paper: first-order distance loss).

    ``L1 = -(1/K) sum_{i<=K} [s_i - logsumexp_{j>=i} s_j]``, candidates in order of distance. ``scores`` (n,)
    are rewards, ``distances`` (n,) true distances in km, n >= 1. ``K=None`` means all; where K exceeds n, it
    is n. Returns a scalar, 0 for a single candidate. Raises ValueError for K < 1.
    """
    ordered, _, K = _by_distance(scores, distances, K)
    return _plackett_luce(ordered)[:K].mean()


def second_order_loss(scores: Tensor, distances: Tensor, K: int | None = 1) -> Tensor:
    """Plackett-Luce over differences of pairs, the pair with the largest gap in distance first.

    A pair is (i, j), i the nearer and among the K nearest; its item scores ``s_i - s_j`` (paper: second-order
    distance loss). The loss is the mean over the pairs. Shapes, ``K`` and errors as in ``first_order_loss``;
    a single candidate has no pair and costs 0. At K=1 the reward of the nearest candidate cancels out: then
    this is Plackett-Luce over the negated rewards of the others, farthest first.
    """
    ordered, distances, K = _by_distance(scores, distances, K)
    nearer, farther = torch.triu_indices(K, len(ordered), offset=1, device=ordered.device)  # (pairs,) each
    largest_gap_first = (distances[nearer] - distances[farther]).argsort(stable=True)
    differences = (ordered[nearer] - ordered[farther])[largest_gap_first]
    return _plackett_luce(differences).sum() / max(len(differences), 1)


class MultiOrderLoss(NamedTuple):
    """The training loss of the paper and its two terms, each a scalar tensor."""

    first: Tensor
    second: Tensor
    lambda1: float  # weight of the first term

    @property
    def total(self) -> Tensor:
        """``lambda1 * first + (1 - lambda1) * second``"""
        return self.lambda1 * self.first + (1 - self.lambda1) * self.second


def multi_order_loss(scores: Tensor, distances: Tensor, lambda1: float = 0.7, K: int | None = 1) -> MultiOrderLoss:
    """First- and second-order loss of one group and their weighted sum. Shapes and errors as in ``first_order_loss``.

    >>> loss = multi_order_loss(torch.tensor([2.0, -1.0, 0.5]), torch.tensor([3.0, 900.0, 120.0]))
    >>> loss.first, loss.second, loss.total
    (tensor(0.2413), tensor(0.1007), tensor(0.1991))
    """
    return MultiOrderLoss(first_order_loss(scores, distances, K), second_order_loss(scores, distances, K), lambda1)


def mean_loss(losses: Sequence[MultiOrderLoss], dtype: torch.dtype | None = None) -> MultiOrderLoss:
    """The mean over groups of one ``lambda1``, term by term, computed in ``dtype`` (None: that of the terms)."""
    first = torch.stack([loss.first for loss in losses]).mean(dtype=dtype)
    second = torch.stack([loss.second for loss in losses]).mean(dtype=dtype)
    return MultiOrderLoss(first, second, losses[0].lambda1)


def _by_distance(scores: Tensor, distances: Tensor, K: int | None) -> tuple[Tensor, Tensor, int]:
    """Scores in at least float32 and distances, both (n,) nearest first, and K as a number of at most n."""
    if K is not None and K < 1:
        raise ValueError(f"K is {K}; it must be at least 1, or None for all candidates")
    distances, order = distances.sort(stable=True)
    ordered = scores.to(torch.promote_types(scores.dtype, torch.float32))[order]
    return ordered, distances, len(ordered) if K is None else min(K, len(ordered))


def _plackett_luce(ordered: Tensor) -> Tensor:
    """Negative log-probability of each pick among the items left; items (m,) in the order of picking."""
    return ordered.flip(0).logcumsumexp(0).flip(0) - ordered
