import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModel, AutoModelForImageTextToText

from utils.model import checkpoint
from utils.model.checkpoint import KEY_MAPPING, check_tensors, load_checkpoint, load_tensors

# Of config.json, none of which transformers turns down in an error of one line.
SPOILT = [{"model_type": []}, {"model_type": "x"}, {"text_config": []}, {"vision_config": -1}, {"dtype": "float7"}]
EXPECTED = {"a": torch.Size([2, 3]), "b": torch.Size([4])}


def test_tensors_that_fit():
    check_tensors("it does not fit", {"a": torch.zeros(2, 3), "b": torch.zeros(4)}, EXPECTED)


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ({"a": (2, 3)}, "missing tensors ['b'], unexpected tensors [], wrongly shaped tensors []"),
        (
            {"z": (1,), "c": (1,), "a": (2, 3), "b": (4,)},
            "missing tensors [], unexpected tensors ['c', 'z'], wrongly shaped tensors []",
        ),
        (
            {"b": (5,), "a": (3, 2)},
            "missing tensors [], unexpected tensors [], "
            "wrongly shaped tensors ['a [3, 2] instead of [2, 3]', 'b [5] instead of [4]']",
        ),
        (
            {"c": (1,), "a": (6,)},
            "missing tensors ['b'], unexpected tensors ['c'], wrongly shaped tensors ['a [6] instead of [2, 3]']",
        ),
    ],
)
def test_all_tensors_that_do_not_fit_are_listed(tensors, message):
    with pytest.raises(ValueError) as caught:  # noqa: PT011  (the whole message is compared)
        check_tensors("x does not fit y", {name: torch.zeros(shape) for name, shape in tensors.items()}, EXPECTED)
    assert str(caught.value) == f"x does not fit y: {message}"


@pytest.fixture
def base(tiny_base, tmp_path):
    return shutil.copytree(tiny_base, tmp_path / "base")


def change(base, **tensors):
    """Put tensors into the checkpoint; None takes one out."""
    stored = load_file(base / "model.safetensors") | tensors
    save_file({k: v for k, v in stored.items() if v is not None}, base / "model.safetensors", {"format": "pt"})


def test_what_may_be_left_over(base):
    stored = load_file(base / "model.safetensors")
    model = load_checkpoint(AutoModel, base, unused=["lm_head.weight"], key_mapping=KEY_MAPPING)
    assert len(model.state_dict()) == len(stored) - 1
    with pytest.raises(ValueError, match=r"Qwen2VLModel .*: missing tensors \[\], unexpected .* \['lm_head.weight'\]"):
        load_checkpoint(AutoModel, base, unused=[], key_mapping=KEY_MAPPING)
    change(base, ghost=torch.zeros(1))
    load_checkpoint(AutoModel, base, key_mapping=KEY_MAPPING)  # anything may
    with pytest.raises(ValueError, match=r"unexpected tensors \['ghost'\]"):
        load_checkpoint(AutoModel, base, unused=["lm_head.weight"], key_mapping=KEY_MAPPING)


@pytest.mark.parametrize("seconds", [0.0, 3600.0])
def test_progress_is_shown_of_long_loads(tiny_base, monkeypatch, capsys, seconds):
    monkeypatch.setattr(checkpoint, "LONG", seconds)
    load_checkpoint(AutoModel, tiny_base, key_mapping=KEY_MAPPING)
    assert ("Loading weights" in capsys.readouterr().err) == (seconds == 0.0)


@pytest.mark.parametrize("model_class", [AutoModel, AutoModelForImageTextToText])
def test_missing_and_wrongly_shaped_tensors_are_listed_where_anything_may_be_left_over(base, model_class):
    stored = load_file(base / "model.safetensors")
    missing, wrong = (
        next(name for name in stored if name.endswith(end)) for end in ("1.mlp.up_proj.weight", "0.mlp.up_proj.weight")
    )
    change(base, **{missing: None, wrong: torch.zeros(48, 31)})
    with pytest.raises(ValueError, match=f"checkpoint {base} does not fit Qwen2VL.*: missing tensors") as caught:
        load_checkpoint(model_class, base, key_mapping=KEY_MAPPING)
    listed, shapes = str(caught.value).split(": missing tensors ")[1].split(", wrongly shaped tensors ")
    assert listed.count("'") == 2
    assert listed.endswith("language_model.layers.1.mlp.up_proj.weight']")
    assert shapes.endswith("language_model.layers.0.mlp.up_proj.weight [48, 31] instead of [48, 32]']")


def spoil_weights(base, change):
    tensors = load_file(base / "model.safetensors")
    (name,) = (name for name in tensors if name.endswith("layers.1.mlp.up_proj.weight"))
    save_file(tensors | {name: change(tensors[name])}, base / "model.safetensors", {"format": "pt"})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (torch.Tensor.int, r"model\.safetensors: tensor .*up_proj\.weight is of type I32"),
        (torch.Tensor.bool, r"model\.safetensors: tensor .*up_proj\.weight is of type BOOL"),
        (
            lambda weight: weight.index_fill(0, torch.tensor(1), torch.nan),
            r"up_proj\.weight has values that are no num",
        ),
        (
            lambda weight: weight.index_fill(0, torch.tensor(1), -torch.inf),
            r"up_proj\.weight has values that are no num",
        ),
    ],
)
def test_weights_that_are_no_finite_numbers_are_named(base, change, message):
    spoil_weights(base, change)
    with pytest.raises(ValueError, match=message):
        load_checkpoint(AutoModel, base, key_mapping=KEY_MAPPING)


def test_damaged_files_of_a_checkpoint_are_named(base):
    weights = (base / "model.safetensors").read_bytes()
    for damaged in (weights[:-1], weights[:5000] + weights[5001:], weights[:4], b"", b"\xff" * 100):
        (base / "model.safetensors").write_bytes(damaged)
        with pytest.raises(ValueError, match=r"model\.safetensors: "):
            load_checkpoint(AutoModel, base, key_mapping=KEY_MAPPING)
    (base / "model.safetensors").write_bytes(weights)
    config = json.loads((base / "config.json").read_text())
    large = {"text_config": config["text_config"] | {"intermediate_size": 100_000_000}}
    for damaged in ("", "[]", "{", "[" * 100_000, *(json.dumps(config | other) for other in SPOILT), json.dumps(large)):
        (base / "config.json").write_text(damaged)
        with pytest.raises(ValueError, match=r"config\.json: |config\.json asks for [\d,]+ weights") as caught:
            load_checkpoint(AutoModel, base, key_mapping=KEY_MAPPING)
        assert "\n" not in str(caught.value)


def test_tensors_are_read_whole_or_named(tmp_path):
    path, tensors = tmp_path / "t.safetensors", {"a": torch.ones(2), "b": torch.ones(1, dtype=torch.float16)}
    save_file(tensors, path)
    assert load_tensors(path).keys() == {"a", "b"}
    with pytest.raises(ValueError, match=r"t\.safetensors: tensor b is of type F16: it must be F32"):
        load_tensors(path, ("F32",))
    for value in (torch.tensor([1]), torch.tensor([torch.nan]), torch.tensor([1e300], dtype=torch.float64)):
        save_file(tensors | {"b": value}, path)
        with pytest.raises(ValueError, match=r"t\.safetensors: tensor b"):
            load_tensors(path)
