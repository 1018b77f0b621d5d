import doctest
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from utils.training import losses
from utils.training.losses import first_order_loss, mean_loss, multi_order_loss, second_order_loss


def total_loss(*args, **kwargs):
    return multi_order_loss(*args, **kwargs).total


LOSSES = (first_order_loss, second_order_loss, total_loss)


def log_sum_exp(values):
    top = max(values)
    return top + math.log(sum(math.exp(value - top) for value in values))


def plackett_luce(scores, picks):
    """Sum over the first picks of -log P(this one among those left), by the definition."""
    return sum(log_sum_exp(scores[i:]) - scores[i] for i in range(picks))


def brute_force_first(scores, distances, K):
    order = sorted(range(len(scores)), key=lambda i: distances[i])
    K = min(K or len(scores), len(scores))
    return plackett_luce([scores[i] for i in order], K) / K


def brute_force_second(scores, distances, K):
    order = sorted(range(len(scores)), key=lambda i: distances[i])
    K = min(K or len(scores), len(scores))
    pairs = [(i, j) for rank, i in enumerate(order[:K]) for j in order[rank + 1 :]]
    pairs.sort(key=lambda pair: distances[pair[0]] - distances[pair[1]])
    return plackett_luce([scores[i] - scores[j] for i, j in pairs], len(pairs)) / max(len(pairs), 1)


@st.composite
def groups(draw, min_size=1, largest=30.0):
    """Rewards and distances (km, all different, and so all gaps) of one query."""
    size = draw(st.integers(min_size, 9))
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    return random.uniform(-largest, largest, size), random.uniform(0, 20000, size)


ks = st.sampled_from([1, 2, 3, 7, 20, None])


@settings(deadline=None, max_examples=150)
@given(groups(), ks, st.floats(0, 1))
def test_losses_are_their_definitions(group, K, lambda1):
    scores, distances = map(torch.from_numpy, group)
    first, second = brute_force_first(*group, K), brute_force_second(*group, K)
    assert first_order_loss(scores, distances, K).item() == pytest.approx(first, rel=1e-9, abs=1e-9)
    assert second_order_loss(scores, distances, K).item() == pytest.approx(second, rel=1e-9, abs=1e-9)
    mixed = multi_order_loss(scores, distances, lambda1, K)
    assert (mixed.first.item(), mixed.second.item()) == pytest.approx((first, second), rel=1e-9, abs=1e-9)
    assert mixed.total.item() == pytest.approx(lambda1 * first + (1 - lambda1) * second, rel=1e-9, abs=1e-9)


@settings(deadline=None, max_examples=50)
@given(st.lists(groups(), min_size=1, max_size=4), ks, st.floats(0, 1))
def test_the_mean_over_groups_is_that_of_each_term(groups, K, lambda1):
    terms = [(brute_force_first(*group, K), brute_force_second(*group, K)) for group in groups]
    first, second = np.mean(terms, axis=0)
    mean = mean_loss([multi_order_loss(*map(torch.from_numpy, group), lambda1, K) for group in groups])
    assert (mean.first.item(), mean.second.item()) == pytest.approx((first, second), rel=1e-9, abs=1e-9)
    assert mean.total.item() == pytest.approx(lambda1 * first + (1 - lambda1) * second, rel=1e-9, abs=1e-9)


@settings(deadline=None, max_examples=50)
@given(groups(), ks)
def test_half_precision_scores_are_computed_in_float32(group, K):
    scores, distances = torch.from_numpy(group[0]).bfloat16(), torch.from_numpy(group[1])
    for loss in LOSSES:
        value = loss(scores, distances, K=K)
        assert value.dtype == torch.float32
        assert value == loss(scores.float(), distances, K=K)


@settings(deadline=None, max_examples=50)
@given(groups(), ks, st.floats(-1e3, 1e3))
def test_a_constant_added_to_a_group_changes_nothing(group, K, constant):
    scores, distances = map(torch.from_numpy, group)
    for loss in LOSSES:
        torch.testing.assert_close(loss(scores + constant, distances, K=K), loss(scores, distances, K=K))


@settings(deadline=None, max_examples=50)
@given(groups(min_size=2), ks, st.randoms(use_true_random=False))
def test_order_of_candidates_does_not_matter(group, K, random):
    scores, distances = map(torch.from_numpy, group)
    order = random.sample(range(len(scores)), len(scores))
    for loss in LOSSES:
        torch.testing.assert_close(loss(scores[order], distances[order], K=K), loss(scores, distances, K=K))


@settings(deadline=None, max_examples=50)
@given(groups(min_size=2), st.floats(0.01, 100))
def test_the_unit_of_distance_does_not_matter(group, unit):
    scores, distances = map(torch.from_numpy, group)
    for loss in LOSSES:
        torch.testing.assert_close(loss(scores, distances * unit, K=2), loss(scores, distances, K=2))


@pytest.mark.parametrize("K", [1, 3, None])
@pytest.mark.parametrize("loss", LOSSES)
def test_gradients(loss, K):
    random = torch.Generator().manual_seed(7)
    scores = torch.randn(6, generator=random, dtype=torch.float64, requires_grad=True)
    distances = 1e4 * torch.rand(6, generator=random, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda scores: loss(scores, distances, K=K), scores)


@settings(deadline=None, max_examples=50)
@given(groups(min_size=2, largest=5.0))
def test_at_k_1_the_second_order_leaves_the_nearest_alone(group):
    scores, distances = map(torch.from_numpy, group)
    scores.requires_grad_()
    value = second_order_loss(scores, distances, K=1)
    (gradient,) = torch.autograd.grad(value, scores)
    nearest = distances.argmin()
    assert gradient[nearest].item() == pytest.approx(0, abs=1e-12)

    others = torch.tensor([i for i in distances.argsort(descending=True) if i != nearest])
    farthest_first = plackett_luce((-scores[others]).tolist(), len(others)) / len(others)
    assert value.item() == pytest.approx(farthest_first, rel=1e-9, abs=1e-12)
    if len(others) > 1:
        assert gradient[others].abs().max() > 1e-6


def test_at_k_1_the_first_order_is_cross_entropy_of_the_nearest():
    scores, distances = torch.tensor([0.3, -1.0, 2.0, 0.7]), torch.tensor([50.0, 900.0, 4.0, 60.0])
    expected = torch.nn.functional.cross_entropy(scores, torch.tensor(2))
    torch.testing.assert_close(first_order_loss(scores, distances, K=1), expected)


@pytest.mark.parametrize("K", [1, 2, None])
@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_extreme_rewards_stay_finite(loss, K, dtype):
    scores = torch.tensor([1e4, -1e4, 0.0, 1e4, -1e4], dtype=dtype, requires_grad=True)
    distances = torch.tensor([9000.0, 1.0, 30.0, 40.0, 500.0])
    value = loss(scores, distances, K=K)
    value.backward()
    assert value > 1e3  # the order is badly wrong, and the loss says so
    assert value.isfinite()
    assert scores.grad.isfinite().all()
    assert scores.grad.abs().max() > 0.1


def test_learning_puts_candidates_in_order():
    distances = torch.tensor([400.0, 3.0, 9000.0, 50.0])
    scores = torch.zeros(4, requires_grad=True)
    optimizer = torch.optim.SGD([scores], lr=1.0)
    for _ in range(50):
        optimizer.zero_grad()
        multi_order_loss(scores, distances, K=None).total.backward()
        optimizer.step()
    assert scores.argsort(descending=True).tolist() == distances.argsort().tolist()


def test_ties_keep_the_order_of_the_input():
    scores, distances = torch.tensor([0.5, -2.0, 1.0]), torch.tensor([20.0, 10.0, 10.0])
    before = torch.tensor([20.0, 9.0, 10.0])
    for loss in LOSSES:
        torch.testing.assert_close(loss(scores, distances, K=1), loss(scores, before, K=1))
    assert first_order_loss(scores, distances, K=1) != first_order_loss(scores.flip(0), distances.flip(0), K=1)


def test_all_candidates_at_one_distance_are_finite():
    scores = torch.randn(4, requires_grad=True)
    multi_order_loss(scores, torch.full((4,), 7.0), K=None).total.backward()
    assert scores.grad.isfinite().all()


@settings(deadline=None, max_examples=30)
@given(groups())
def test_k_beyond_the_group_means_all(group):
    scores, distances = map(torch.from_numpy, group)
    for loss in LOSSES:
        assert loss(scores, distances, K=50) == loss(scores, distances, K=None)


@pytest.mark.parametrize("loss", LOSSES)
def test_a_single_candidate_costs_nothing(loss):
    scores = torch.tensor([3.0], requires_grad=True)
    value = loss(scores, torch.tensor([10.0]))
    value.backward()
    assert value == 0
    assert scores.grad.item() == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("K", [0, -1])
@pytest.mark.parametrize("loss", LOSSES)
def test_k_below_one_is_refused(loss, K):
    with pytest.raises(ValueError, match=f"K is {K}; it must be at least 1"):
        loss(torch.zeros(3), torch.arange(3.0), K=K)


def test_docstring_examples():
    assert doctest.testmod(losses).failed == 0
