import doctest

import numpy as np
import pytest
from geopy.distance import great_circle
from hypothesis import given, settings
from hypothesis import strategies as st

from utils import decoding
from utils.decoding import (
    METHODS,
    WITHOUT_RANKER,
    Decoder,
    Evidence,
    argmax,
    consensus,
    decode,
    fuse,
    mass_near,
    shares,
)
from utils.geography.geodesy import EARTH_RADIUS_KM

# Two towns 60 km apart, one across the Alps, one on the other side of the Earth.
POINTS = [(46.2, 7.1), (46.2, 7.9), (44.2, 12.7), (-33.9, 151.2)]


def test_probabilities_are_a_softmax_at_a_temperature():
    np.testing.assert_allclose(shares([0.0, np.log(3)]), [0.25, 0.75])
    np.testing.assert_allclose(shares([0.0, np.log(3)], 0.5), [0.1, 0.9])
    np.testing.assert_allclose(shares([1e4, -1e4, 1e4]), [0.5, 0, 0.5])
    np.testing.assert_allclose(shares([[0.0, 0.0], [0.0, np.log(3)]]), [[0.5, 0.5], [0.25, 0.75]])


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


def test_mass_is_the_share_around_the_place():
    weights = [0.4, 0.3, 0.2, 0.1]
    around = mass_near(POINTS, weights, 0)
    assert list(around) == [1, 25, 200, 750, 2500]
    assert list(around.values()) == pytest.approx([0.4, 0.4, 0.7, 0.9, 0.9])
    assert mass_near(POINTS, weights, 3, radii_km=(200, 21000)) == pytest.approx({200: 0.1, 21000: 1.0})
    assert mass_near([(0.0, 180.0), (0.0, -180.0)], [0.5, 0.5], 0)[1] == 1


@settings(deadline=None, max_examples=50)
@given(st.integers(1, 30), st.integers(0, 1000))
def test_mass_grows_with_the_radius_up_to_one(size, seed):
    random = np.random.default_rng(seed)
    places = np.stack([random.uniform(-90, 90, size), random.uniform(-180, 180, size)], axis=1)
    weights = shares(random.normal(size=size))
    masses = list(mass_near(places, weights, 0, (1, 25, 200, 2500, 21000)).values())
    assert masses == sorted(masses)
    assert weights[0] <= masses[0]
    assert masses[-1] == pytest.approx(1)
    assert masses[-1] <= 1


def test_decode_puts_it_together():
    evidence = Evidence(POINTS, [-4.6, -4.4, -9.0, -4.0])
    assert decode(evidence, temperature=2.0) == 3
    assert decode(evidence, "consensus") == 1


def test_fused_methods_decode_fused_rewards():
    rewards, similarities = [-4.6, -4.4, -9.0, -4.0], [0.9, np.nan, 0.1, 0.2]
    evidence = Evidence(POINTS, rewards, similarities)
    fused = Evidence(POINTS, fuse(rewards, similarities, 3.0))
    for method, plain in (("fused", "argmax"), ("fused_consensus", "consensus")):
        found = decode(evidence, method, temperature=2.0, similarity_weight=3.0)
        assert found == decode(fused, plain, temperature=2.0)
        for unknown in (None, [None] * 4):
            with pytest.raises(ValueError, match=f"no candidate has a similarity: {method} has nothing"):
                decode(Evidence(POINTS, rewards, unknown), method)
    assert decode(evidence) == 3
    assert decode(evidence, "fused", similarity_weight=3.0) == 0


@pytest.mark.parametrize("method", METHODS)
def test_methods_that_are_not_fused_do_without_similarities(method):
    decoder = METHODS[method].decoder(temperature=0.5, similarity_weight=3.0)
    rewards, similarities = [-4.6, -4.4, -9.0, -4.0], [0.9, 0.8, 0.1, 0.2]
    known, unknown = (Evidence(POINTS, rewards, values) for values in (similarities, None))
    same = np.array_equal(decoder.shares(known), decoder.shares(unknown))
    assert same == (method not in ("fused", "fused_consensus"))
    assert decoder.pick(known) == decode(known, method, temperature=0.5, similarity_weight=3.0)


def test_powers_sharpen_the_consensus_and_not_the_shares():
    random = np.random.default_rng(0)
    for _ in range(10):
        places = random.uniform([-60, -180], [60, 180], (7, 2))
        evidence = Evidence(places, random.normal(size=7), random.uniform(size=7))
        decoder = Decoder(similarity_weight=5.0, temperature=0.8, scale_km=3000, power=2.0)
        own = shares(fuse(evidence.rewards, evidence.similarities, 5.0), 0.8)
        np.testing.assert_array_equal(decoder.shares(evidence), own)
        assert decoder.pick(evidence) == consensus(evidence.points, own**2, 3000)
        everywhere, here = decoder.mass_near(evidence, 0, (21000, 0.001)).values()
        assert everywhere == pytest.approx(1)
        assert here == pytest.approx(own[0])


def test_a_decoder_without_weights_needs_only_points():
    decoder = Decoder(reward_weight=0, scale_km=200)
    index = decoder.pick(Evidence(POINTS))
    assert index in (0, 1)
    assert decoder.mass_near(Evidence(POINTS), index) == pytest.approx(
        {1: 0.25, 25: 0.25, 200: 0.5, 750: 0.75, 2500: 0.75}
    )
    with pytest.raises(ValueError, match="no rewards"):
        Decoder().pick(Evidence(POINTS))


def test_candidates_weigh_by_their_origin():
    evidence = Evidence(POINTS, ranks=[0, 1, 5, np.nan])
    decoder = Decoder(reward_weight=0, guess_weight=3.0, rank_decay=0.2, scale_km=1)
    weights = np.array([1, np.exp(-0.2), np.exp(-1), 3])
    np.testing.assert_allclose(shares(decoder.scores(evidence)), weights / weights.sum())
    assert decoder.pick(evidence) == 3
    # Two retrieved photos that agree outvote a guess that weighs less than both.
    votes = {weight: Decoder(reward_weight=0, guess_weight=weight, scale_km=1000).pick(evidence) for weight in (1, 9)}
    assert votes == {1: consensus(POINTS, np.ones(4), 1000), 9: 3}
    assert votes[1] != 3


def test_origins_add_to_rewards():
    """In the softmax, a weight multiplies."""
    rewards = [-4.6, -4.4, -9.0, -4.0]
    decoder = Decoder(guess_weight=3.0, rank_decay=0.2)
    found = shares(decoder.scores(Evidence(POINTS, rewards, ranks=[0, 1, np.nan, 2])))
    expected = shares(rewards) * [1, np.exp(-0.2), 3, np.exp(-0.4)]
    np.testing.assert_allclose(found, expected / expected.sum())


def test_weights_by_origin_need_ranks():
    for weights in ({"guess_weight": 2.0}, {"rank_decay": 0.1}):
        with pytest.raises(ValueError, match="no retrieval ranks"):
            Decoder(reward_weight=0, **weights).scores(Evidence(POINTS))
    assert (WITHOUT_RANKER["consensus_equal"].scores(Evidence(POINTS)) == 0).all()


def test_evidence_is_of_the_same_candidates():
    for name, count in (("rewards", 1), ("similarities", 5), ("ranks", 3)):
        with pytest.raises(ValueError, match=f"4 points, but {count} {name}"):
            Evidence(POINTS, **{name: [0.5] * count})
    assert not Evidence(POINTS).has_similarity
    assert not Evidence(POINTS, similarities=[np.nan] * 4).has_similarity
    assert Evidence(POINTS, similarities=[np.nan, np.nan, 0.0, np.nan]).has_similarity


def test_fusing_gives_the_mean_to_candidates_without_similarity():
    fused = fuse([1.0, 2.0, 3.0], [0.5, np.nan, 0.7], 10.0)
    np.testing.assert_allclose(fused, [6.0, 8.0, 10.0])
    np.testing.assert_allclose(fuse([1.0, 2.0], [np.nan, np.nan], 10.0), [1.0, 2.0])
    np.testing.assert_allclose(fuse([1.0, 2.0], [0.1, 0.9], 0.0), [1.0, 2.0])


def test_docstring_examples():
    assert doctest.testmod(decoding).failed == 0
