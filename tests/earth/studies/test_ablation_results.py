import numpy as np
import pytest

from earth.studies.ablation_results import paired_difference
from tests.earth.studies.results import drawn


def test_paired_difference_against_loops():
    first = [drawn("worse", seed, 3) for seed in (0, 1, 5)]
    second = [drawn("baseline", seed, 1) for seed in (1, 0, 2)]
    difference, low, high = paired_difference(first, second)
    for position, km in enumerate((25, 200)):
        gains = []
        for query in range(300):
            own = []
            for seed in (0, 1):  # which both have
                one, other = (next(r for r in side if r.seed == seed).errors_km[query] for side in (first, second))
                own.append((one < km) - (other < km))
            gains.append(100 * sum(own) / 2)
        assert difference[position] == pytest.approx(sum(gains) / 300)
        random = np.random.default_rng(1)
        means = [np.mean([gains[i] for i in random.integers(0, 300, 300)]) for _ in range(1000)]
        assert low[position] == pytest.approx(np.quantile(means, 0.025), abs=0.6)
        assert high[position] == pytest.approx(np.quantile(means, 0.975), abs=0.6)
    assert paired_difference(first[:1], second[2:]) is None
    assert paired_difference([], second) is None
