import pytest
import torch
from transformers import AutoTokenizer, Qwen2VLForConditionalGeneration

from earth import grow
from tests.earth.pretraining import BASE


@pytest.fixture(scope="module")
def small() -> Qwen2VLForConditionalGeneration:
    return Qwen2VLForConditionalGeneration.from_pretrained(BASE, dtype=torch.float32).eval()


@pytest.fixture(scope="module")
def question() -> torch.Tensor:
    return AutoTokenizer.from_pretrained(BASE)("How far is this place? latitude: 1.5", return_tensors="pt").input_ids


def test_a_grown_model_says_the_same_and_everything_new_can_learn(small, question):
    torch.manual_seed(0)
    grown = grow.grow(small).eval()
    layers, before = grown.model.language_model.layers, small.model.language_model.layers
    assert len(layers) == 2 * len(before)
    assert layers[0].mlp.up_proj.out_features == 2 * before[0].mlp.up_proj.out_features
    torch.testing.assert_close(grown(question).logits, small(question).logits, atol=1e-4, rtol=0)

    # After a step of the output projections a gradient reaches whatever stands before them.
    optimizer = torch.optim.SGD(grown.model.language_model.parameters(), lr=1e-3)
    for _ in range(2):
        optimizer.zero_grad()
        grown(question, labels=question).loss.backward()
        optimizer.step()
    for layer in layers:
        assert all(weights.grad.abs().sum() > 0 for weights in layer.parameters())
        assert (layer.mlp.up_proj.weight.grad.abs().sum(1) > 0).all()
        assert (layer.mlp.gate_proj.weight.grad.abs().sum(1) > 0).all()


def test_command(small, question, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["grow", "--model", str(BASE), "--output_dir", str(tmp_path / "large")])
    assert grow.main() == 0
    assert "3.57 M parameters became 7.70 M" in capsys.readouterr().out
    loaded = Qwen2VLForConditionalGeneration.from_pretrained(tmp_path / "large", dtype=torch.float32).eval()
    torch.testing.assert_close(loaded(question).logits, small(question).logits, atol=1e-4, rtol=0)


def test_the_small_model_is_not_replaced(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["grow", "--model", str(BASE), "--output_dir", f"{BASE}/../{BASE.name}"])
    with pytest.raises(SystemExit):
        grow.main()
    assert "would replace the small model" in capsys.readouterr().err
