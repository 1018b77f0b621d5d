"""Adapters in every released layout, against the stock model with the same LoRA added to its weights by hand."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from transformers import AutoTokenizer
from transformers.models.auto.image_processing_auto import AutoImageProcessor

from tests.naive import naive_rewards
from tests.released import merged_by_hand, write_adapter, write_base
from tests.tiny_models import save_adapter
from utils.candidates import Candidate, Query
from utils.geo_ranker import GeoRanker
from utils.model.adapter import load_lora
from utils.model.adapter_info import AdapterInfo
from utils.model.adapter_names import our_names
from utils.model.packing import Packer

NEGATIVES = (Candidate(-33.87, 151.21, ("Sydney", "Australia")), Candidate(1.5, 2.25))
CANDIDATES = (Candidate(46.1, 7.1, ("Martigny", "Valais"), "c.jpg"), Candidate(48.0, 2.0, (), "q.jpg"))
QUERIES = (Query("q.jpg", (*CANDIDATES, Candidate(-3.5, 151.2)), NEGATIVES), Query("c.jpg", CANDIDATES))
# Key prefix and the adapter's name in the keys: peft's save_pretrained, without prefix, a raw state dict.
SPELLINGS = [("base_model.model.", ""), ("", ""), ("base_model.model.", ".default")]
SETTINGS = [
    {},
    {"r": 4, "lora_alpha": 6, "use_rslora": True},
    {
        "rank_pattern": {"model.layers.1.self_attn.k_proj": 3},
        "alpha_pattern": {"model.layers.0.self_attn.q_proj": 100, "model.layers.1.self_attn.v_proj": 1},
    },
]


@pytest.fixture(scope="module")
def photos(make_image):
    return {"q.jpg": make_image(40, 30, 1), "c.jpg": make_image(24, 50, 2)}


def rewards(ranker: GeoRanker, photos) -> torch.Tensor:
    encoded = {name: ranker.packer.encode(photo) for name, photo in photos.items()}
    return torch.cat(ranker.score_queries(QUERIES, encoded))


def expected_rewards(base, adapter, photos) -> torch.Tensor:
    """The published prompt, and nothing of GeoRanker's model or loading."""
    model, head = merged_by_hand(base, adapter)
    processor = AutoImageProcessor.from_pretrained(base, backend="pil")
    packer = Packer(AutoTokenizer.from_pretrained(base), processor, model.get_rope_index, "published")
    with torch.no_grad():
        return naive_rewards(model, lambda hidden: head @ hidden, packer, QUERIES, photos)


@pytest.mark.parametrize("base_layout", ["old", "new"])
@pytest.mark.parametrize("layout", ["old", "new"])
@pytest.mark.parametrize(("prefix", "infix"), SPELLINGS)
def test_released_adapters_give_the_naive_rewards(tiny_base, tmp_path, photos, base_layout, layout, prefix, infix):
    base, adapter = tmp_path / "base", tmp_path / "adapter"
    write_base(tiny_base, base, base_layout)
    write_adapter(adapter, tiny_base, layout, prefix, infix)
    expected = expected_rewards(tiny_base, adapter, photos)
    assert expected.std() > 0.1
    without = GeoRanker.from_pretrained(base, device="cpu")
    without.score.weight.data.copy_(merged_by_hand(tiny_base, adapter)[1])
    assert (rewards(without, photos) - expected).abs().min() > 1e-2
    for merge in (True, False):
        ranker = GeoRanker.from_pretrained(base, adapter, device="cpu", merge=merge)
        assert ranker.info == AdapterInfo(str(base), "published", 128, 1024, candidate_jpeg_quality=75)
        torch.testing.assert_close(rewards(ranker, photos), expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("settings", SETTINGS)
def test_the_settings_of_a_released_adapter_hold(tiny_base, tmp_path, photos, settings):
    write_adapter(tmp_path / "adapter", tiny_base, **settings)
    ranker = GeoRanker.from_pretrained(tiny_base, tmp_path / "adapter", device="cpu")
    expected = expected_rewards(tiny_base, tmp_path / "adapter", photos)
    torch.testing.assert_close(rewards(ranker, photos), expected, atol=1e-4, rtol=1e-4)
    adapted = load_lora(
        GeoRanker.from_pretrained(tiny_base, device="cpu"), tmp_path / "adapter", trainable=True
    ).get_base_model()
    projection = adapted.backbone.language_model.layers[0].self_attn.q_proj
    assert projection.lora_dropout["default"].p == 0.05


def test_a_released_adapter_trains_on_and_becomes_ours(tiny_base, tmp_path, photos):
    write_adapter(tmp_path / "adapter", tiny_base)
    adapted = load_lora(GeoRanker.from_pretrained(tiny_base, device="cpu"), tmp_path / "adapter", trainable=True)
    before = {name: tensor.clone() for name, tensor in adapted.state_dict().items()}
    packer = adapted.packer
    batch = packer.pack(QUERIES, {name: packer.encode(photo) for name, photo in photos.items()})
    trained = [parameter for parameter in adapted.parameters() if parameter.requires_grad]
    optimizer = torch.optim.SGD(trained, lr=0.1)
    adapted(batch).square().mean().backward()
    optimizer.step()
    changed = {name for name, tensor in adapted.state_dict().items() if not torch.equal(tensor, before[name])}
    assert len(changed) == len(trained) == 2 * 3 * 2 + 1
    assert "base_model.model.score.modules_to_save.default.weight" in changed

    save_adapter(adapted.eval(), tmp_path / "ours", AdapterInfo(str(tiny_base)))
    expected = rewards(adapted.get_base_model(), photos)
    for merge in (True, False):
        ranker = GeoRanker.from_pretrained(tiny_base, tmp_path / "ours", device="cpu", merge=merge)
        torch.testing.assert_close(rewards(ranker, photos), expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("layout", ["old", "new"])
def test_what_does_not_fit_is_listed(tiny_base, tmp_path, layout):
    write_adapter(tmp_path / "adapter", tiny_base, layout)
    file = tmp_path / "adapter" / "adapter_model.safetensors"
    tensors = load_file(file)
    layers = {"old": "base_model.model.model.layers.", "new": "base_model.model.model.language_model.layers."}[layout]
    ours = "base_model.model.backbone.language_model.layers."
    del tensors["base_model.model.value_head.weight"], tensors[f"{layers}1.self_attn.v_proj.lora_A.weight"]
    tensors[f"{layers}2.self_attn.q_proj.lora_A.weight"] = torch.zeros(16, 32)
    tensors["base_model.model.visual.blocks.0.attn.qkv.lora_B.weight"] = torch.zeros(48, 16)
    tensors[f"{layers}0.self_attn.k_proj.lora_B.weight"] = torch.zeros(16, 8)
    save_file(tensors, file)
    with pytest.raises(ValueError, match="adapter does not fit the model") as caught:
        GeoRanker.from_pretrained(tiny_base, tmp_path / "adapter", device="cpu")
    missing = [f"{ours}1.self_attn.v_proj.lora_A.weight", "base_model.model.score.weight"]
    unexpected = [f"{ours}2.self_attn.q_proj.lora_A.weight", "base_model.model.visual.blocks.0.attn.qkv.lora_B.weight"]
    wrong = [f"{ours}0.self_attn.k_proj.lora_B.weight [16, 8] instead of [16, 16]"]
    assert f"missing tensors {missing}, unexpected tensors {unexpected}, wrongly shaped tensors {wrong}" in str(
        caught.value
    )


def test_a_damaged_or_absent_file_is_named(tiny_base, tmp_path):
    write_adapter(tmp_path / "adapter", tiny_base)
    file = tmp_path / "adapter" / "adapter_model.safetensors"
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(ValueError, match=r"adapter_model\.safetensors: "):
        GeoRanker.from_pretrained(tiny_base, tmp_path / "adapter", device="cpu")
    file.unlink()
    with pytest.raises(FileNotFoundError, match=r"no adapter folder: adapter_model\.safetensors is missing"):
        GeoRanker.from_pretrained(tiny_base, tmp_path / "adapter", device="cpu")


@given(
    number=st.integers(0, 200),
    rest=st.sampled_from(["self_attn.q_proj.lora_A.weight", "self_attn.v_proj.lora_B.weight", "mlp.up_proj.lora_A.w"]),
    language=st.sampled_from(["model.", "model.language_model."]),
    prefix=st.sampled_from(["", "base_model.model."]),
)
def test_names_of_layers(number, rest, language, prefix):
    tensor = torch.zeros(1)
    expected = f"base_model.model.backbone.language_model.layers.{number}.{rest}"
    ours = our_names({f"{prefix}{language}layers.{number}.{rest}": tensor})
    assert ours == {expected: tensor}
    assert our_names(ours) == ours


def test_two_names_of_one_tensor_are_an_error():
    names = ["base_model.model.value_head.weight", "value_head.modules_to_save.default.weight"]
    with pytest.raises(ValueError, match=f"{names[0]} and {names[1]} are the same tensor"):
        our_names({name: torch.zeros(1) for name in names})
