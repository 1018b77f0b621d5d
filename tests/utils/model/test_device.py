import pytest
import torch

from utils.model.device import checked_device, multiplies, own_device, placed


@pytest.mark.parametrize(("there", "device"), [(True, "cuda:3"), (False, "cpu")])
def test_own_device(monkeypatch, there, device):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: there)
    assert own_device(3) == device


@pytest.mark.parametrize("name", ["gpu", "nonsense", "meta", "vulkan", "cuda:x", ""])
def test_what_is_no_device_to_compute_on_is_refused_with_what_is(name):
    with pytest.raises(ValueError, match=f"^device {name}: it is cpu, cuda or cuda:N, such as cuda:0$"):
        checked_device(name)


def test_gpus_that_are_not_there_are_refused_in_one_line(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert checked_device("cpu") == torch.device("cpu")
    with pytest.raises(ValueError, match=r"device cuda:0: .* has no CUDA"):
        checked_device("cuda:0")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert checked_device("cuda:1") == torch.device("cuda:1")
    with pytest.raises(ValueError, match=r"^device cuda:2: this machine's last GPU is cuda:1$"):
        checked_device("cuda:2")


def test_another_accelerator_of_torch_is_taken(monkeypatch):
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda **_: torch.device("mps"))
    assert checked_device("mps") == torch.device("mps")


@pytest.mark.parametrize("there", [True, False])
def test_a_cpu_without_instructions_for_16_bits_computes_in_float32(monkeypatch, there):
    for dtype in ("bf16", "fp16"):
        monkeypatch.setattr(torch.ops.mkldnn, f"_is_mkldnn_{dtype}_supported", lambda: there)
    assert [multiplies(dtype, "cpu") for dtype in (torch.float32, torch.bfloat16, torch.float16)] == [
        True,
        there,
        there,
    ]
    assert multiplies(torch.bfloat16, "cuda:0")
    stored = torch.nn.Linear(3, 2, dtype=torch.bfloat16)
    values = stored.weight.detach().clone()
    model = placed(stored, "cpu")
    assert model.weight.dtype == (torch.bfloat16 if there else torch.float32)
    assert torch.equal(model.weight, values.to(model.weight.dtype))


def test_without_onednn_nothing_is_multiplied_in_16_bits(monkeypatch):
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    assert not multiplies(torch.bfloat16, "cpu")
