import doctest
from dataclasses import asdict

import numpy as np
import pytest
from geopy.distance import great_circle
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar

from utils import decoding
from utils.decoding import argmax, confidence, consensus, decode, fuse, probabilities
from utils.evaluation.fit import fit_similarity_weight, fit_temperature
from utils.geography.geodesy import EARTH_RADIUS_KM

# Two towns 60 km apart, one across the Alps, one on the other side of the Earth.
POINTS = [(46.2, 7.1), (46.2, 7.9), (44.2, 12.7), (-33.9, 151.2)]


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
        shares = probabilities(rewards + similarity_weight * similarities, temperature)
        distances = random.uniform(100, 5000, size)
        distances[random.choice(size, p=shares)] = 10
        groups.append((rewards, similarities, distances))
    return groups


def test_probabilities_are_a_softmax_at_a_temperature():
    np.testing.assert_allclose(probabilities([0.0, np.log(3)]), [0.25, 0.75])
    np.testing.assert_allclose(probabilities([0.0, np.log(3)], 0.5), [0.1, 0.9])
    np.testing.assert_allclose(probabilities([1e4, -1e4, 1e4]), [0.5, 0, 0.5])
    np.testing.assert_allclose(probabilities([[0.0, 0.0], [0.0, np.log(3)]]), [[0.5, 0.5], [0.25, 0.75]])


def test_argmax_takes_the_first_of_the_highest():
    assert argmax([-6.84, -4.13, -6.53, -4.13]) == 1


points = st.lists(st.tuples(st.floats(-90, 90), st.floats(-180, 180)), min_size=1, max_size=8)


@settings(deadline=None, max_examples=60)
@given(points, st.integers(0, 1000), st.floats(10, 5000))
def test_consensus_maximises_its_definition(points, seed, scale_km):
    weights = np.random.default_rng(seed).dirichlet(np.ones(len(points)))
    sums = [
        sum(
            w * np.exp(-great_circle(a, b, radius=EARTH_RADIUS_KM).km / scale_km)
            for b, w in zip(points, weights, strict=True)
        )
        for a in points
    ]
    assert sums[consensus(points, weights, scale_km)] == pytest.approx(max(sums), rel=1e-9)


def test_consensus_adds_up_candidates_that_agree():
    assert consensus(POINTS, np.ones(4)) in (0, 1)
    assert consensus(POINTS, [0.2, 0.3, 0.0, 0.5]) == 3
    assert consensus(POINTS, [0.25, 0.35, 0.0, 0.4]) == 1
    assert consensus(POINTS, [0.25, 0.35, 0.0, 0.4], scale_km=1) == 3


def test_consensus_works_across_the_dateline():
    assert consensus([(60.0, 10.0), (-17.0, 179.95), (-17.0, -179.95)], [0.4, 0.3, 0.3]) in (1, 2)


def test_confidence_is_the_probability_around_the_place():
    weights = [0.4, 0.3, 0.2, 0.1]
    around = confidence(POINTS, weights, 0)
    assert list(around) == [1, 25, 200, 750, 2500]
    assert list(around.values()) == pytest.approx([0.4, 0.4, 0.7, 0.9, 0.9])
    assert confidence(POINTS, weights, 3, radii_km=(200, 21000)) == pytest.approx({200: 0.1, 21000: 1.0})
    assert confidence([(0.0, 180.0), (0.0, -180.0)], [0.5, 0.5], 0)[1] == 1


@settings(deadline=None, max_examples=50)
@given(st.integers(1, 30), st.integers(0, 1000))
def test_confidence_grows_with_the_radius_and_stays_a_probability(size, seed):
    random = np.random.default_rng(seed)
    places = np.stack([random.uniform(-90, 90, size), random.uniform(-180, 180, size)], axis=1)
    weights = probabilities(random.normal(size=size))
    masses = list(confidence(places, weights, 0, (1, 25, 200, 2500, 21000)).values())
    assert masses == sorted(masses)
    assert weights[0] <= masses[0]
    assert masses[-1] == pytest.approx(1)
    assert masses[-1] <= 1


def test_decode_puts_it_together():
    rewards = [-4.6, -4.4, -9.0, -4.0]
    published = decode(POINTS, rewards, temperature=2.0)
    assert (published.index, published.latitude, published.longitude) == (3, -33.9, 151.2)
    assert published.confidence[2500] == pytest.approx(probabilities(rewards, 2.0)[3])
    agreed = decode(POINTS, rewards, method="consensus")
    assert agreed.index == 1
    assert agreed.confidence[200] == pytest.approx(probabilities(rewards)[:2].sum())
    assert asdict(agreed) == {
        "index": 1,
        "latitude": 46.2,
        "longitude": 7.9,
        "confidence": confidence(POINTS, probabilities(rewards), 1),
    }


def test_fused_methods_decode_fused_rewards():
    rewards, similarities = [-4.6, -4.4, -9.0, -4.0], [0.9, np.nan, 0.1, 0.2]
    fused = fuse(rewards, similarities, 3.0)
    known = {"similarities": similarities, "similarity_weight": 3.0}
    for method, plain in (("fused", "argmax"), ("fused_consensus", "consensus")):
        found = decode(POINTS, rewards, method=method, temperature=2.0, **known)
        assert found == decode(POINTS, fused, method=plain, temperature=2.0)
        for unknown in (None, [None] * 4):
            with pytest.raises(ValueError, match=f"no candidate has a similarity: {method} has nothing"):
                decode(POINTS, rewards, method=method, similarities=unknown)
    assert decode(POINTS, rewards).index == 3
    assert decode(POINTS, rewards, method="fused", **known).index == 0


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
    assert probabilities(-distances[0], perfect).max() > 0.999
    assert fit_temperature([(d, d) for d in distances]) == pytest.approx(spread * 100)
    assert np.isfinite(fit_temperature([(np.zeros(4), np.arange(4.0))]))


def test_duplicates_of_the_nearest_share_its_credit():
    groups = [
        (np.array([0.0, 2.0, 1.0]), np.array([5.0, 5.0, 80.0])),
        (np.array([0.1, 0.0]), np.array([9.0, 8.0])),
    ]

    def shared_nll(log):
        one, other = (probabilities(rewards, np.exp(log)) for rewards, _ in groups)
        return -np.log(one[0] + one[1]) - np.log(other[1])

    found = minimize_scalar(shared_nll, bounds=(-3, 3), method="bounded", options={"xatol": 1e-9})
    assert fit_temperature(groups) == pytest.approx(np.exp(found.x), rel=1e-3)


def test_fusing_gives_the_mean_to_candidates_without_similarity():
    fused = fuse([1.0, 2.0, 3.0], [0.5, np.nan, 0.7], 10.0)
    np.testing.assert_allclose(fused, [6.0, 8.0, 10.0])
    np.testing.assert_allclose(fuse([1.0, 2.0], [np.nan, np.nan], 10.0), [1.0, 2.0])
    np.testing.assert_allclose(fuse([1.0, 2.0], [0.1, 0.9], 0.0), [1.0, 2.0])


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


def test_docstring_examples():
    assert doctest.testmod(decoding).failed == 0
