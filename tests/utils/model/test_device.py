import pytest
import torch

from utils.model.device import own_device


@pytest.mark.parametrize(("there", "device"), [(True, "cuda:3"), (False, "cpu")])
def test_own_device(monkeypatch, there, device):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: there)
    assert own_device(3) == device
