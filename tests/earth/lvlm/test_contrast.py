import numpy as np
import torch

from earth.lvlm.contrast import LocationEncoder, soft_contrastive


def test_contrastive_loss_prefers_the_near():
    km = np.array([[0.0, 1000.0], [1000.0, 0.0]])
    right, wrong = torch.tensor([[9.0, 0.0], [0.0, 9.0]]), torch.tensor([[0.0, 9.0], [9.0, 0.0]])
    assert soft_contrastive(right, km, 30.0) < 0.01
    assert soft_contrastive(wrong, km, 30.0) > 8


def test_location_encoder_is_the_same_on_both_sides_of_the_antimeridian():
    torch.manual_seed(0)
    encoder = LocationEncoder(16)
    codes = encoder(np.array([[10.0, 180.0], [10.0, -180.0], [10.0, 0.0]]))
    torch.testing.assert_close(codes[0], codes[1], atol=1e-4, rtol=0)
    assert (codes[0] - codes[2]).abs().max() > 0.05
