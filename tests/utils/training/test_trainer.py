import numpy as np
import pytest
import torch
from transformers import EvalPrediction

from utils.training.losses import first_order_loss, second_order_loss
from utils.training.trainer import GroupMetrics, mean_terms


def test_stand_ins_and_ties_do_not_count_in_the_figures():
    rewards, distances = np.array([[3.0, 2.0, 1.0], [0.5, 0.1, 0.0]]), np.array([[5.0, 60.0, 900.0], [7.0, 7.0, 7.0]])
    metrics = GroupMetrics(0.7, 1)
    first = metrics(EvalPrediction(rewards[:1], distances[:1]))
    assert first["pairwise_accuracy"] == 100
    padded = metrics(EvalPrediction(np.repeat(rewards[:1], 2, 0), np.stack([distances[0], np.full(3, -1.0)])))
    assert padded == first
    assert metrics(EvalPrediction(rewards, distances))["pairwise_accuracy"] == 100

    terms = torch.tensor([[1.0, 2.0, 50.0], [3.0, 6.0, np.nan]])
    assert mean_terms(terms).tolist() == [2, 4, 50]


@pytest.mark.parametrize("K", [1, None])
def test_the_evaluation_loss_is_the_mean_over_groups(K):
    generator = np.random.default_rng(4)
    rewards = generator.normal(0, 3, (5, 4)).astype(np.float32)
    distances = generator.uniform(0, 9000, (5, 4)).astype(np.float32)
    distances[2, 3] = -1
    expected = []
    for group, km in zip(torch.from_numpy(rewards), torch.from_numpy(distances), strict=True):
        group = group[km >= 0], km[km >= 0]
        expected.append(0.6 * first_order_loss(*group, K).item() + 0.4 * second_order_loss(*group, K).item())
    loss = GroupMetrics(0.6, K)(EvalPrediction(rewards, distances))["loss"]
    assert loss == pytest.approx(np.mean(expected), rel=1e-12)
