import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar

from utils.decoding import fuse, shares
from utils.evaluation.fit import fit_similarity_weight, fit_temperature


def nll(groups, temperature):
    """Mean -log p(nearest), by the definition."""
    total = 0.0
    for rewards, distances in groups:
        shares = np.exp((np.asarray(rewards) - np.max(rewards)) / temperature)
        total -= np.log(shares[np.argmin(distances)] / shares.sum())
    return total / len(groups)


def random_groups(seed, queries=400, temperature=1.0, similarity_weight=0.0, sizes=(2, 15)):
    """Queries whose nearest candidate is drawn from the model that is being fitted."""
    random = np.random.default_rng(seed)
    groups = []
    for _ in range(queries):
        size = random.integers(*sizes)
        rewards, similarities = random.normal(-5, 2, size), random.uniform(0.6, 0.9, size)
        own = shares(rewards + similarity_weight * similarities, temperature)
        distances = random.uniform(100, 5000, size)
        distances[random.choice(size, p=own)] = 10
        groups.append((rewards, similarities, distances))
    return groups


@pytest.mark.parametrize("temperature", [0.2, 1.0, 5.0])
def test_temperature_is_the_minimum_of_its_objective(temperature):
    groups = [(r, d) for r, _, d in random_groups(0, temperature=temperature)]
    found = minimize_scalar(
        lambda log: nll(groups, np.exp(log)), bounds=(-5, 5), method="bounded", options={"xatol": 1e-9}
    )
    fitted = fit_temperature(groups)
    assert fitted == pytest.approx(np.exp(found.x), rel=1e-3)
    assert fitted == pytest.approx(temperature, rel=0.25)


@settings(deadline=None, max_examples=15)
@given(st.floats(1e-3, 1e4), st.floats(-1e3, 1e3))
def test_temperature_follows_the_scale_of_rewards(scale, shift):
    groups = [(r, d) for r, _, d in random_groups(1, queries=50)]
    scaled = [(scale * (r + shift), d) for r, d in groups]
    assert fit_temperature(scaled) == pytest.approx(scale * fit_temperature(groups), rel=1e-3)


def test_temperature_of_perfect_and_useless_rewards_stays_finite():
    random = np.random.default_rng(2)
    distances = [random.permutation(10).astype(float) for _ in range(50)]
    spread = np.std(np.arange(10))
    perfect = fit_temperature([(-d, d) for d in distances])
    assert spread / 100 <= perfect < spread
    assert shares(-distances[0], perfect).max() > 0.999
    assert fit_temperature([(d, d) for d in distances]) == pytest.approx(spread * 100)
    assert np.isfinite(fit_temperature([(np.zeros(4), np.arange(4.0))]))


def test_duplicates_of_the_nearest_share_its_credit():
    groups = [
        (np.array([0.0, 2.0, 1.0]), np.array([5.0, 5.0, 80.0])),
        (np.array([0.1, 0.0]), np.array([9.0, 8.0])),
    ]

    def shared_nll(log):
        one, other = (shares(rewards, np.exp(log)) for rewards, _ in groups)
        return -np.log(one[0] + one[1]) - np.log(other[1])

    found = minimize_scalar(shared_nll, bounds=(-3, 3), method="bounded", options={"xatol": 1e-9})
    assert fit_temperature(groups) == pytest.approx(np.exp(found.x), rel=1e-3)


def test_similarity_weight_is_recovered():
    groups = random_groups(3, queries=3000, temperature=2.0, similarity_weight=30.0)
    weight, temperature = fit_similarity_weight(groups)
    assert weight == pytest.approx(30.0, rel=0.2)
    assert temperature == pytest.approx(2.0, rel=0.2)


def test_similarity_weight_minimises_the_fused_objective():
    groups = random_groups(4, temperature=2.0, similarity_weight=30.0)
    for row, (_, similarities, _) in enumerate(groups):
        similarities[: row % 3] = np.nan
    weight, temperature = fit_similarity_weight(groups)

    def fused_nll(weight, temperature):
        return nll([(fuse(r, s, weight), d) for r, s, d in groups], temperature)

    best = fused_nll(weight, temperature)
    for factor in (0.9, 1.1):
        assert fused_nll(weight * factor, temperature) > best
        assert fused_nll(weight, temperature * factor) > best
    assert best < nll([(r, d) for r, _, d in groups], fit_temperature([(r, d) for r, _, d in groups]))
    assert temperature == pytest.approx(fit_temperature([(fuse(r, s, weight), d) for r, s, d in groups]), rel=1e-2)


def test_misleading_similarity_gets_no_weight():
    groups = random_groups(5, similarity_weight=-30.0)
    weight, temperature = fit_similarity_weight(groups)
    assert weight == 0
    assert temperature == pytest.approx(fit_temperature([(r, d) for r, _, d in groups]), rel=1e-2)


@pytest.mark.parametrize("similarity", [np.nan, 0.5])
def test_similarities_that_say_nothing_get_no_weight(similarity):
    groups = [(rewards, np.full(len(rewards), similarity), km) for rewards, _, km in random_groups(6)]
    assert fit_similarity_weight(groups) == (0, fit_temperature([(rewards, km) for rewards, _, km in groups]))
