import numpy as np
import pytest

from earth.studies.decoders import CHOSEN_BY_KM, Decoder, choose
from tests.evaluated import write_evaluation
from utils.decoding import consensus, fuse, probabilities
from utils.evaluation.report import ranker_picks


@pytest.fixture(scope="module")
def cases(tmp_path_factory):
    return write_evaluation(tmp_path_factory.mktemp("runs") / "run", 60, seed=0)


def test_decoders_are_those_of_the_report(cases):
    """With the report's hyper-parameters they pick what the report picks."""
    picks = ranker_picks(cases, temperature=0.7, similarity_weight=9.0)
    usual = {"temperature": 0.7, "scale_km": 200}
    decoders = {
        "model": Decoder(),
        "model_consensus": Decoder(**usual),
        "model_fused": Decoder(similarity_weight=9.0),
        "model_fused_consensus": Decoder(similarity_weight=9.0, **usual),
        "consensus": Decoder(reward_weight=0, scale_km=200),
        "similarity": Decoder(reward_weight=0, similarity_weight=1),
    }
    for name, decoder in decoders.items():
        assert [decoder.pick(case) for case in cases] == picks[name].tolist(), name


def test_powers_sharpen_the_consensus_and_not_the_confidence(cases):
    for case in cases[:10]:
        decoder = Decoder(similarity_weight=5.0, temperature=0.8, scale_km=300, power=2.0)
        shares = probabilities(fuse(case.rewards, case.similarities, 5.0), 0.8)
        assert decoder.pick(case) == consensus(case.points, shares**2, 300)
        everywhere, here = decoder.confidences(case, 0, (21000, 0.001))
        assert everywhere == pytest.approx(1)
        assert here == pytest.approx(shares[0])


def test_the_best_on_validation_is_chosen(cases):
    grid = [Decoder(temperature=0.5, scale_km=scale) for scale in (1, 100, 5000)] + [Decoder()]
    best, found = choose(cases, grid)
    values = []
    for decoder in grid:
        distances = [case.distances[decoder.pick(case)] for case in cases]
        values.append(np.mean([100 * np.mean([d < km for d in distances]) for km in CHOSEN_BY_KM]))
    assert [value for _, value in found] == pytest.approx(values)
    assert best == grid[int(np.argmax(values))]
