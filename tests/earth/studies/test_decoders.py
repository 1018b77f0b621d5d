import numpy as np
import pytest

from earth.studies.decoders import CHOSEN_BY_KM, choose
from tests.evaluated import write_evaluation
from utils.decoding import Decoder


@pytest.fixture(scope="module")
def cases(tmp_path_factory):
    return write_evaluation(tmp_path_factory.mktemp("runs") / "run", 60, seed=0)


def test_the_best_on_validation_is_chosen(cases):
    grid = [Decoder(temperature=0.5, scale_km=scale) for scale in (1, 100, 5000)] + [Decoder()]
    best, found = choose(cases, grid)
    values = []
    for decoder in grid:
        distances = [case.distances[decoder.pick(case.evidence)] for case in cases]
        values.append(np.mean([100 * np.mean([d < km for d in distances]) for km in CHOSEN_BY_KM]))
    assert [value for _, value in found] == pytest.approx(values)
    assert best == grid[int(np.argmax(values))]
