import numpy as np
import pytest

from earth.build_dataset import build
from earth.precision import blurred_accuracy, main
from tests.earth.pretraining import BASE


def test_accuracy_without_noise_is_that_of_the_scores_and_with_much_noise_that_of_chance():
    rng = np.random.default_rng(0)
    km = rng.uniform(0, 400, (3000, 4))
    exact = blurred_accuracy(-km, km, 0.0, rng)
    best = km.min(1)
    assert exact.tolist() == pytest.approx([100 * np.mean(best < 25), 100 * np.mean(best < 200)])
    chance = [100 * np.mean(km < 25), 100 * np.mean(km < 200)]
    assert blurred_accuracy(-km, km, 1e6, rng).tolist() == pytest.approx(chance, abs=1.5)
    assert chance[1] + 5 < blurred_accuracy(-km, km, 0.5, rng)[1] < exact[1] - 5


def test_noise_is_measured_by_the_variance_of_the_scores():
    """Of two candidates that differ by one, noise of variance 1/2 in each turns the order in Phi(-1) of the cases."""
    scores = np.tile([0.0, 1.0], (40_000, 1))
    km = np.tile([1000.0, 10.0], (40_000, 1))
    found = blurred_accuracy(scores, km, 0.5 / scores.var(), np.random.default_rng(0))
    assert found[0] == pytest.approx(84.13, abs=0.3)


def test_a_world_gives_a_line_for_each_error(tmp_path, capsys):
    build(tmp_path, (60, 1, 1, 5, 1), seed=0, workers=1)
    assert main(["--data", str(tmp_path), "--model", str(BASE)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 9
    assert lines[1].split()[0] == "0.0"
    assert lines[-1].startswith("oracle ")
