import json
import sys

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file, save_file

from tests.released import write_adapter
from tools import convert_adapter
from utils.candidates import Candidate, Query
from utils.geo_ranker import GeoRanker
from utils.model.adapter_conversion import convert
from utils.model.adapter_info import AdapterInfo

QUERY = Query("q.jpg", (Candidate(46.1, 7.1, ("Martigny",), "q.jpg"), Candidate(-33.9, 151.2)))


@pytest.fixture
def released(tiny_base, tmp_path):
    write_adapter(tmp_path / "released", tiny_base)
    return tmp_path / "released"


@pytest.fixture
def run(monkeypatch):
    """``run(*arguments)``: exit code."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["convert_adapter.py", *map(str, arguments)])
        return convert_adapter.main()

    return run


@pytest.mark.parametrize(
    ("layout", "prefix", "infix", "settings"),
    [
        ("old", "base_model.model.", "", {}),
        ("new", "", ".default", {"rank_pattern": {"model.language_model.layers.1.self_attn.k_proj": 3}}),
    ],
)
def test_the_result_is_an_ordinary_adapter(tiny_base, tmp_path, make_image, run, layout, prefix, infix, settings):
    write_adapter(tmp_path / "released", tiny_base, layout, prefix, infix, **settings)
    output = tmp_path / "new" / "ours"
    assert run(tmp_path / "released", output, "--base_model", tiny_base) == 0
    assert {path.name for path in output.iterdir()} == {
        "adapter_config.json",
        "adapter_model.safetensors",
        "georanker.json",
    }
    assert list(output.parent.iterdir()) == [output]
    assert AdapterInfo.load(output) == AdapterInfo(str(tiny_base), "published", candidate_jpeg_quality=75)
    config = json.loads((output / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == str(tiny_base)
    assert config["auto_mapping"] == {"base_model_class": "GeoRanker", "parent_library": "utils.geo_ranker"}
    assert (config["modules_to_save"], config["r"], config["lora_alpha"]) == (["score"], 16, 32)

    expected = GeoRanker.from_pretrained(tiny_base, tmp_path / "released", device="cpu", merge=False)
    ours = GeoRanker.from_pretrained(tiny_base, output, device="cpu", merge=False)
    by_peft = PeftModel.from_pretrained(GeoRanker.from_pretrained(tiny_base, device="cpu"), str(output)).eval()
    batch = expected.packer.pack([QUERY], {"q.jpg": expected.packer.encode(make_image(40, 30))})
    with torch.no_grad():
        for ranker in (ours, by_peft):
            assert torch.equal(ranker(batch), expected(batch))


def test_a_checkpoint_for_vllm(released, tiny_base, tmp_path, run, capsys):
    assert run(released, tmp_path / "served", "--to", "vllm", "--base_model", tiny_base, "--dtype", "bfloat16") == 0
    printed = capsys.readouterr().out
    assert f"vllm serve {tmp_path / 'served'} --dtype bfloat16" in printed
    assert f"{tmp_path / 'served'}: {tiny_base} with {released}, bfloat16" in printed
    assert len({path.stat().st_mode for path in (tmp_path / "served").iterdir()}) == 1, "as the umask says"
    weights = load_file(tmp_path / "served" / "model.safetensors")
    assert weights["language_model.score.weight"].dtype == torch.float32
    assert weights["model.norm.weight"].dtype == torch.bfloat16
    with pytest.raises(SystemExit, match=r"served exists and is not an empty folder: name a new one$"):
        run(released, tmp_path / "served", "--to", "vllm", "--base_model", tiny_base)
    with pytest.raises(SystemExit):
        run(released, tmp_path / "ours", "--dtype", "bfloat16")
    assert "--dtype: no use with --to georanker" in capsys.readouterr().err


def test_the_base_model_and_a_calibration_are_kept(released, tmp_path, run, capsys):
    assert run(released, tmp_path / "plain") == 0
    plain = AdapterInfo("Qwen/Qwen2-VL-7B-Instruct", "published", candidate_jpeg_quality=75)
    assert AdapterInfo.load(tmp_path / "plain") == plain
    assert "Qwen/Qwen2-VL-7B-Instruct" in capsys.readouterr().out
    AdapterInfo("elsewhere", temperature=2.5, domain="photos").save(released)
    (released / "domain.safetensors").write_bytes(b"as it is")
    assert run(released, tmp_path / "calibrated") == 0
    calibrated = AdapterInfo("Qwen/Qwen2-VL-7B-Instruct", temperature=2.5, domain="photos")
    assert AdapterInfo.load(tmp_path / "calibrated") == calibrated
    assert (tmp_path / "calibrated" / "domain.safetensors").read_bytes() == b"as it is"


def test_a_folder_in_use_is_not_overwritten(released, tmp_path, run):
    (tmp_path / "output").mkdir()
    assert run(released, tmp_path / "output") == 0
    before = {path: path.read_bytes() for path in (tmp_path / "output").iterdir()}
    with pytest.raises(SystemExit, match=r"output exists and is not an empty folder: name a new one$"):
        run(released, tmp_path / "output")
    assert {path: path.read_bytes() for path in (tmp_path / "output").iterdir()} == before


def test_what_is_no_released_adapter_is_refused(released, tmp_path, run):
    assert run(released, tmp_path / "ours") == 0
    with pytest.raises(SystemExit, match=r"ours is no released adapter: modules_to_save is \['score'\]"):
        run(tmp_path / "ours", tmp_path / "again")
    with pytest.raises(SystemExit, match=r"absent/adapter_config\.json does not exist: \S+absent is no adapter; "):
        run(tmp_path / "absent", tmp_path / "again")
    config = json.loads((released / "adapter_config.json").read_text()) | {"base_model_name_or_path": None}
    (released / "adapter_config.json").write_text(json.dumps(config))
    with pytest.raises(SystemExit, match="names no base model: give it with --base_model"):
        run(released, tmp_path / "again")
    assert not (tmp_path / "again").exists()


def drop(name):
    return lambda tensors: tensors.pop(name)


def put(name, *shape):
    return lambda tensors: tensors.update({name: torch.zeros(shape)})


LAYERS, OURS = "base_model.model.model.layers.", "base_model.model.backbone.language_model.layers."


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (drop("base_model.model.value_head.weight"), "missing tensors ['base_model.model.score.weight']"),
        (
            drop(f"{LAYERS}0.self_attn.q_proj.lora_B.weight"),
            f"missing tensors ['{OURS}0.self_attn.q_proj.lora_B.weight'], unexpected tensors []",
        ),
        # A third layer begins, and lacks the rest.
        (put(f"{LAYERS}2.self_attn.v_proj.lora_B.weight", 16, 16), f"'{OURS}2.self_attn.q_proj.lora_A.weight'"),
        (put("visual.lora_A.weight", 16, 16), "unexpected tensors ['base_model.model.visual.lora_A.weight']"),
        (
            put(f"{LAYERS}1.self_attn.k_proj.lora_B.weight", 15, 16),
            f"wrongly shaped tensors ['{OURS}1.self_attn.k_proj.lora_B.weight [15, 16] instead of [16, 16]']",
        ),
        (
            put(f"{LAYERS}1.self_attn.k_proj.lora_A.weight", 8, 32),
            f"wrongly shaped tensors ['{OURS}1.self_attn.k_proj.lora_A.weight [8, 32] instead of [16, 32]']",
        ),
        (put("base_model.model.value_head.weight", 2, 32), "score.weight [2, 32] instead of [1, 32]"),
        (put("base_model.model.value_head.weight"), "score.weight [] instead of [1]"),
    ],
)
def test_an_adapter_that_is_not_whole_is_refused(released, tmp_path, spoil, message):
    tensors = load_file(released / "adapter_model.safetensors")
    spoil(tensors)
    save_file(tensors, released / "adapter_model.safetensors")
    with pytest.raises(ValueError, match="does not fit the model") as caught:
        convert(released, tmp_path / "ours")
    assert message in str(caught.value)
    assert not (tmp_path / "ours").exists()
