import pytest
import torch

from utils.model.device import checked_device, own_device


@pytest.mark.parametrize(("there", "device"), [(True, "cuda:3"), (False, "cpu")])
def test_own_device(monkeypatch, there, device):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: there)
    assert own_device(3) == device


def test_devices_that_are_not_there_are_refused_in_one_line(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert checked_device("cpu") == torch.device("cpu")
    with pytest.raises(ValueError, match="device nonsense: "):
        checked_device("nonsense")
    with pytest.raises(ValueError, match=r"device cuda:0: .* has no CUDA"):
        checked_device("cuda:0")
