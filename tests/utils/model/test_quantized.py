"""Weights in 8 and 4 bits, against plain layers that hold what the codes stand for."""

import json
import shutil

import pytest
import torch
from bitsandbytes.functional import dequantize_4bit, int8_vectorwise_dequant
from bitsandbytes.nn import Linear4bit, Linear8bitLt
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import AutoModel, AutoModelForImageTextToText, LlavaConfig

from tests.tiny_models import FAMILIES, LORA_LAYERS, QUANTISED_LAYERS, save_adapter
from utils.candidates import Candidate, Query
from utils.geo_ranker import GeoRanker
from utils.model.adapter import add_lora
from utils.model.adapter_info import AdapterInfo
from utils.model.checkpoint import KEY_MAPPING, load_checkpoint
from utils.model.memory import on_meta
from utils.model.quantizations import QUANTIZATIONS
from utils.model.quantized import kept_layers
from utils.model.tower import tower_fingerprint

LAYERS = {"8bit": Linear8bitLt, "4bit": Linear4bit}
QUERY = Query("q", (Candidate(46.1, 7.1, ("Martigny",), "c"), Candidate(-33.9, 151.2), Candidate(1.0, 2.0, ("x",))))


@pytest.fixture(scope="module")
def adapters(tiny_bases, tmp_path_factory):
    """Of each family, with a LoRA and head that matter."""
    folders = {}
    for family in FAMILIES:
        torch.manual_seed(0)
        adapted = add_lora(GeoRanker.from_pretrained(tiny_bases[family], device="cpu"), r=4)
        for parameter in adapted.parameters():
            if parameter.requires_grad:
                nn.init.normal_(parameter, std=0.3)
        folders[family] = tmp_path_factory.mktemp(f"adapter_{family}")
        save_adapter(adapted, folders[family], AdapterInfo(str(tiny_bases[family])))
    return folders


def rewards(ranker, make_image):
    batch = ranker.packer.pack([QUERY], {name: ranker.packer.encode(make_image(40, 30)) for name in "qc"})
    with torch.inference_mode():
        return ranker(batch)


def plain(ranker):
    """Its layers replaced by float32 ones with what the codes of their weights stand for."""
    for name, layer in list(ranker.named_modules()):
        if isinstance(layer, Linear4bit):
            weight = dequantize_4bit(layer.weight.data, layer.weight.quant_state)
        elif isinstance(layer, Linear8bitLt):
            scale = layer.state.SCB if layer.weight.SCB is None else layer.weight.SCB
            weight = int8_vectorwise_dequant(layer.weight.data, scale)
        else:
            continue
        own = nn.Linear(layer.in_features, layer.out_features, bias=layer.bias is not None)
        own.weight, own.bias = nn.Parameter(weight.float(), requires_grad=False), layer.bias
        ranker.set_submodule(name, own)
    return ranker


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("quantize", QUANTIZATIONS)
def test_rewards_are_those_of_the_weights_that_the_codes_stand_for(tiny_bases, adapters, make_image, family, quantize):
    exact = rewards(GeoRanker.from_pretrained(tiny_bases[family], adapters[family], device="cpu"), make_image)
    ranker = GeoRanker.from_pretrained(tiny_bases[family], adapters[family], device="cpu", quantize=quantize)
    layers = [layer for layer in ranker.modules() if isinstance(layer, LAYERS[quantize])]
    assert len(layers) == QUANTISED_LAYERS[family]
    assert not any(isinstance(layer, LAYERS[quantize]) for layer in ranker.backbone.visual.modules())
    assert ranker.score.weight.dtype == torch.float32
    loras = sum("lora_A" in name for name, _ in ranker.named_parameters())
    assert loras == LORA_LAYERS[family], "the adapter stays unmerged"
    found = rewards(ranker, make_image)
    assert found.dtype == torch.float32
    assert (found - exact).abs().max() > 1e-4
    # In 8 bits activations are rounded, too.
    close = {"atol": 1e-4, "rtol": 1e-4} if quantize == "4bit" else {"atol": 0.3, "rtol": 0.05}
    torch.testing.assert_close(found, rewards(plain(ranker), make_image), **close)


@pytest.mark.parametrize("quantize", QUANTIZATIONS)
def test_the_gates_of_recurrent_layers_are_kept(tiny_bases, quantize):
    layer = load_checkpoint(AutoModel, tiny_bases["qwen3_5"], quantize=quantize).language_model.layers[0].linear_attn
    kept = {name for name, part in layer.named_children() if not isinstance(part, LAYERS[quantize])}
    assert kept == {"conv1d", "norm", "in_proj_a", "in_proj_b"}
    assert {tensor.dtype for name in kept for tensor in layer.get_submodule(name).parameters()} == {torch.float32}
    assert layer.A_log.dtype == layer.dt_bias.dtype == torch.float32


@pytest.mark.parametrize("quantize", QUANTIZATIONS)
def test_the_rest_keeps_its_type_and_features_stay_valid(tiny_base, make_image, quantize):
    ranker = GeoRanker.from_pretrained(tiny_base, device="cpu", dtype=torch.bfloat16, quantize=quantize)
    as_it_is = GeoRanker.from_pretrained(tiny_base, device="cpu", dtype=torch.bfloat16)
    assert {tensor.dtype for tensor in ranker.backbone.visual.parameters()} == {torch.bfloat16}
    assert ranker.backbone.get_input_embeddings().weight.dtype == torch.bfloat16
    assert tower_fingerprint(ranker.backbone, ranker.packer) == tower_fingerprint(as_it_is.backbone, as_it_is.packer)
    if quantize == "4bit":
        assert {layer.compute_dtype for layer in ranker.modules() if isinstance(layer, Linear4bit)} == {torch.bfloat16}
    assert rewards(ranker, make_image).isfinite().all()


def test_an_adapter_is_not_merged_into_codes(tiny_base, adapters):
    with pytest.raises(ValueError, match=r"^merge: an adapter stays beside weights that are quantised"):
        GeoRanker.from_pretrained(tiny_base, adapters["qwen2_vl"], device="cpu", merge=True, quantize="8bit")


@pytest.mark.parametrize("quantize", QUANTIZATIONS)
def test_a_checkpoint_that_does_not_fit_is_refused_as_ever(tiny_base, tmp_path, quantize):
    base = shutil.copytree(tiny_base, tmp_path / "base")
    stored = load_file(base / "model.safetensors")
    (name,) = (name for name in stored if name.endswith("layers.1.mlp.up_proj.weight"))
    for changed, message in (
        ({}, r"missing tensors \['language_model.layers.1.mlp.up_proj.weight'\]"),
        ({name: torch.zeros(48, 31)}, r"layers.1.mlp.up_proj.weight \[48, 31\] instead of \[48, 32\]'\]"),
        ({name: stored[name], "ghost": torch.zeros(1)}, r"unexpected tensors \['ghost'\]"),
        ({name: stored[name].index_fill(0, torch.tensor(1), torch.nan)}, "up_proj.weight has values that are no num"),
    ):
        rest = {key: tensor for key, tensor in stored.items() if key != name}
        save_file(rest | changed, base / "model.safetensors", {"format": "pt"})
        with pytest.raises(ValueError, match=message):
            load_checkpoint(
                AutoModel, base, unused=["lm_head.weight"], quantize=quantize, device="cpu", key_mapping=KEY_MAPPING
            )


def test_a_checkpoint_that_is_quantised_already_is_refused(tiny_base, tmp_path):
    base = shutil.copytree(tiny_base, tmp_path / "base")
    config = json.loads((base / "config.json").read_text())
    config["quantization_config"] = {"quant_method": "bitsandbytes", "load_in_4bit": True}
    (base / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match="is quantised already: load it without quantize"):
        load_checkpoint(AutoModel, base, quantize="8bit")


def test_a_missing_package_is_named(tiny_base, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"quantize needs the package bitsandbytes: pip install -e '\.\[quantize\]'"):
        load_checkpoint(AutoModel, tiny_base, unused=["lm_head.weight"], quantize="8bit")


def test_layers_outside_of_the_language_model_are_kept():
    """Also of models that call their parts otherwise."""
    text = {"model_type": "qwen2", "hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    vision = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = LlavaConfig(text_config=text, vision_config=vision)
    model = on_meta(AutoModelForImageTextToText.from_config, config)
    kept = kept_layers(model)
    linear = {name for name, layer in model.named_modules() if isinstance(layer, nn.Linear)}
    assert "lm_head" in kept
    assert linear - set(kept) == {name for name in linear if ".language_model." in name}
    assert len(linear - set(kept)) == 7
