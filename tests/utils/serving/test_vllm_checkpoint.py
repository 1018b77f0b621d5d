import json
import re
import resource
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file

from tests.naive import naive_rewards
from tests.released import merged_by_hand, write_adapter
from tests.tiny_models import save_adapter
from tests.vllm_stand_in import StandIn
from utils.candidates import Candidate, Query
from utils.geo_ranker import GeoRanker
from utils.model.adapter import add_lora
from utils.model.adapter_info import AdapterInfo
from utils.serving.identity import checkpoint_label, reward_label
from utils.serving.vllm_checkpoint import write_vllm_checkpoint

ARCHITECTURES = {
    "qwen2_vl": "Qwen2VLForSequenceClassification",
    "qwen2_5_vl": "Qwen2_5_VLForSequenceClassification",
    "qwen3_vl": "Qwen3VLForSequenceClassification",
}
# Where vLLM 0.32 makes the head; how names of a layer and of the tower begin in the hub's checkpoints of the family.
NAMES = {
    "qwen2_vl": ("language_model.score.weight", "model.layers.0.", "visual.blocks.0."),
    "qwen2_5_vl": ("language_model.score.weight", "model.layers.0.", "visual.blocks.0."),
    "qwen3_vl": ("score.weight", "model.language_model.layers.0.", "model.visual.blocks.0."),
}
CANDIDATES = (Candidate(46.1, 7.1, ("Martigny",), "c.jpg"), Candidate(-33.9, 151.2))
QUERY = Query("q.jpg", CANDIDATES, (Candidate(1.0, 2.0, ("Nowhere",)),))


def own_adapter(folder: Path, base: Path, **settings) -> Path:
    with torch.random.fork_rng():
        torch.manual_seed(3)
        adapted = add_lora(GeoRanker.from_pretrained(base, device="cpu"), r=2)
        for parameter in adapted.parameters():
            if parameter.requires_grad:
                torch.nn.init.normal_(parameter, std=0.3)
    save_adapter(adapted, folder, AdapterInfo(str(base), **settings))
    return folder


@pytest.mark.parametrize("family", ARCHITECTURES)
def test_stock_weights_and_head_give_our_rewards(family, tiny_bases, tmp_path, make_image):
    base = tiny_bases[family]
    adapter = own_adapter(tmp_path / "adapter", base, layout="negatives_first", min_pixels=256, max_pixels=512)
    stored, info = write_vllm_checkpoint(adapter, tmp_path / "served")
    assert (stored, info.min_pixels, info.max_pixels) == ("float32", 256, 512)
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []

    served = StandIn(tmp_path / "served")
    assert served.config["architectures"] == [ARCHITECTURES[family]]
    assert served.config["id2label"] == {"0": checkpoint_label(adapter, AdapterInfo.load(adapter), base, "float32")}
    assert served.config["model_type"] == family
    head, layer, tower = NAMES[family]
    names = load_file(tmp_path / "served" / "model.safetensors").keys()
    assert head in names
    assert "lm_head.weight" not in names
    assert {name for name in load_file(base / "model.safetensors") if name != "lm_head.weight"} | {head} == names
    assert all(any(name.startswith(start) for name in names) for start in (layer, tower))

    photos = {"q.jpg": make_image(40, 30, 1), "c.jpg": make_image(30, 50, 2)}
    packer = SimpleNamespace(tokenizer=served.tokenizer, image_processor=served.processor, layout="negatives_first")
    with torch.inference_mode():
        theirs = naive_rewards(served.backbone, lambda hidden: hidden @ served.head.T, packer, [QUERY], photos)
    ours = GeoRanker.from_pretrained(base, adapter, device="cpu")
    ranking = ours.rank(photos["q.jpg"], CANDIDATES, QUERY.negatives, images=photos)
    ranked = {place.candidate: place.reward for place in ranking}
    assert theirs.tolist() == pytest.approx([ranked[candidate] for candidate in CANDIDATES], abs=1e-4)


@pytest.mark.parametrize("dtype", [None, torch.float32, torch.float16])
def test_a_released_adapter_is_merged_in_float32(tiny_base, tmp_path, dtype):
    base = in_bfloat16(tiny_base, tmp_path / "base")
    write_adapter(tmp_path / "released", base)
    stored, info = write_vllm_checkpoint(tmp_path / "released", tmp_path / "served", base, dtype)
    kept = dtype or torch.bfloat16
    assert stored == str(kept).removeprefix("torch.")
    assert info.candidate_jpeg_quality == 75
    config = json.loads((tmp_path / "served" / "config.json").read_text())
    assert config["dtype"] == config["torch_dtype"] == stored
    tensors = load_file(tmp_path / "served" / "model.safetensors")
    expected, head = merged_by_hand(base, tmp_path / "released")
    assert torch.equal(tensors.pop("language_model.score.weight"), head)
    weights = expected.state_dict()
    assert tensors.keys() == {hub_name(name) for name in weights}
    for name, weight in weights.items():
        assert tensors[hub_name(name)].dtype == kept
        found, wanted = tensors[hub_name(name)].float(), weight.to(kept).float()
        if re.search(r"self_attn\.[qkv]_proj\.weight", name):  # a sum in another order may round to the next number
            torch.testing.assert_close(found, wanted, rtol=torch.finfo(kept).eps, atol=1e-6)
        else:
            assert torch.equal(found, wanted)


def hub_name(name: str) -> str:
    return name.replace("language_model.", "model.")


def in_bfloat16(base: Path, folder: Path) -> Path:
    from transformers import AutoImageProcessor, AutoModelForImageTextToText, AutoTokenizer

    AutoModelForImageTextToText.from_pretrained(base, dtype=torch.bfloat16).save_pretrained(folder)
    AutoTokenizer.from_pretrained(base).save_pretrained(folder)
    AutoImageProcessor.from_pretrained(base, backend="pil").save_pretrained(folder)
    return folder


def test_how_qwen3_vl_numbers_photos_is_said(tiny_bases, tmp_path):
    base = tiny_bases["qwen3_vl"]
    write_vllm_checkpoint(own_adapter(tmp_path / "adapter", base), tmp_path / "served")
    before, after = (json.loads((folder / "config.json").read_text()) for folder in (base, tmp_path / "served"))
    rope = before["text_config"].pop("rope_parameters")
    assert after["text_config"].pop("rope_parameters") == rope | {"mrope_interleaved": True}
    assert after["text_config"] == before["text_config"]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"model_type": "qwen3_5"}, "model_type is 'qwen3_5': for vLLM it must be qwen2_vl or qwen2_5_vl or qwen3_vl"),
        ({"quantization_config": {"quant_method": "awq"}}, "the base model is quantised"),
        ({"dtype": "int8"}, "dtype is 'int8': it must be float32 or bfloat16 or float16"),
    ],
)
def test_what_vllm_does_not_take_is_refused(tiny_base, tmp_path, changed, message):
    write_adapter(tmp_path / "released", tiny_base)
    config = json.loads((tiny_base / "config.json").read_text()) | changed
    (tmp_path / "base").mkdir()
    (tmp_path / "base" / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match=r"base/config\.json: ") as raised:
        write_vllm_checkpoint(tmp_path / "released", tmp_path / "served", tmp_path / "base")
    assert message in str(raised.value)
    assert not (tmp_path / "served").exists()


def test_too_little_room_is_seen_before_the_model_is_read(tiny_base, tmp_path, monkeypatch):
    adapter = own_adapter(tmp_path / "adapter", tiny_base)
    write_vllm_checkpoint(adapter, tmp_path / "whole", dtype=torch.float16)
    numbers = load_file(tmp_path / "whole" / "model.safetensors")
    needed = 2 * sum(tensor.numel() for name, tensor in numbers.items() if "score" not in name)
    room = SimpleNamespace(free=needed)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: room)
    write_vllm_checkpoint(adapter, tmp_path / "fits", dtype=torch.float16)
    room.free -= 1
    monkeypatch.setattr(GeoRanker, "from_pretrained", None)
    with pytest.raises(OSError, match=r"full: [\d.]+ MB are to be written, and the disk has room for [\d.]+$"):
        write_vllm_checkpoint(adapter, tmp_path / "full", dtype=torch.float16)
    assert not (tmp_path / "full").exists()


def test_a_disk_that_becomes_full_is_named(tiny_base, tmp_path):
    adapter = own_adapter(tmp_path / "adapter", tiny_base)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, hard))
    try:
        with pytest.raises(ValueError, match=f"^{tmp_path / 'served'}: .*File too large"):
            write_vllm_checkpoint(adapter, tmp_path / "served")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == ["adapter"]


def test_one_limit_for_all_photos_is_all_that_vllm_has(tiny_base, tmp_path):
    adapter = own_adapter(tmp_path / "adapter", tiny_base, candidate_max_pixels=256)
    with pytest.raises(ValueError, match=f"{adapter} has candidate_max_pixels 256, and vLLM one limit for all photos"):
        write_vllm_checkpoint(adapter, tmp_path / "served")
    assert not (tmp_path / "served").exists()


def test_a_label_stands_for_weights_and_sizes(tiny_base, tmp_path):
    adapters = [own_adapter(tmp_path / str(number), tiny_base, max_pixels=600 + number) for number in range(2)]
    infos = [AdapterInfo.load(adapter) for adapter in adapters]
    labels = {reward_label(adapters[0], infos[0]), reward_label(adapters[1], infos[1])}
    assert len(labels) == 2
    assert reward_label(adapters[0], infos[1]) in labels
    for name in ("adapter_model.safetensors", "adapter_config.json"):
        (adapters[0] / name).write_bytes(b"other")
        labels.add(reward_label(adapters[0], infos[0]))
    assert len(labels) == 4


def test_a_checkpoint_is_known_by_its_base_and_dtype_too(tiny_bases, tmp_path):
    base, other, asking = tiny_bases["qwen2_vl"], tiny_bases["qwen2_5_vl"], tmp_path / "asking"
    shutil.copytree(base, asking)
    template = asking / "chat_template.jinja"
    template.write_text(template.read_text().replace("helpful", "careful"))
    adapter = own_adapter(tmp_path / "adapter", base)
    info = AdapterInfo.load(adapter)
    labels = {
        checkpoint_label(adapter, info, path, dtype)
        for path in (base, other, asking)
        for dtype in ("float32", "bfloat16")
    }
    assert len(labels) == 6
    assert {label.rpartition("-")[0] for label in labels} == {reward_label(adapter, info)}
