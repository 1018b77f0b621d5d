import json
import shutil
from dataclasses import replace

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file, save_file

from tests.tiny_models import save_adapter
from utils.candidates import Candidate, Query
from utils.geo_ranker import GeoRanker
from utils.model.adapter import add_lora, load_lora, without_lora
from utils.model.adapter_info import AdapterInfo

INFO = AdapterInfo("base", "negatives_first", 128, 512, group_size=7, temperature=0.5, similarity_weight=2.0)
QUERY = Query("q.jpg", (Candidate(46.1, 7.1, ("Martigny",), "c.jpg"), Candidate(-33.9, 151.2)))


@pytest.fixture(scope="module")
def trained(tiny_base) -> PeftModel:
    """A ranker whose LoRA and score head differ from their start."""
    torch.manual_seed(0)
    adapted = add_lora(GeoRanker.from_pretrained(tiny_base, layout="negatives_first", device="cpu"), r=4)
    for parameter in adapted.parameters():
        if parameter.requires_grad:
            torch.nn.init.normal_(parameter, std=0.3)
    return adapted.eval()


@pytest.fixture(scope="module")
def batch(trained, make_image):
    packer = trained.packer
    return packer.pack([QUERY], {name: packer.encode(make_image(40, 30)) for name in ("q.jpg", "c.jpg")})


@pytest.fixture
def folder(trained, tiny_base, tmp_path):
    save_adapter(trained, tmp_path / "adapter", replace(INFO, base_model=str(tiny_base)))
    return tmp_path / "adapter"


def test_lora_trains_the_released_modules_only(tiny_base):
    adapted = add_lora(GeoRanker.from_pretrained(tiny_base, device="cpu"))
    trainable = {name for name, parameter in adapted.named_parameters() if parameter.requires_grad}
    attention = "base_model.model.backbone.language_model.layers.{}.self_attn.{}.lora_{}.default.weight"
    assert trainable == {
        "base_model.model.score.modules_to_save.default.weight",
        *(attention.format(i, f"{p}_proj", side) for i in (0, 1) for p in "qkv" for side in "AB"),
    }
    config = adapted.peft_config["default"]
    assert (config.r, config.lora_alpha, config.lora_dropout) == (16, 32, 0.05)


def test_a_fresh_lora_changes_nothing(tiny_base, trained, batch):
    ranker = GeoRanker.from_pretrained(tiny_base, device="cpu")
    with torch.no_grad():
        before = ranker(batch)
        assert torch.equal(add_lora(ranker).eval()(batch), before)
        assert (trained(batch) - before).abs().min() > 1e-2


def test_a_lora_is_off_within(tiny_base, trained, batch):
    ranker = GeoRanker.from_pretrained(tiny_base, layout="negatives_first", device="cpu")
    ranker.score.load_state_dict({"weight": trained.score.weight})
    wanted = {name: parameter.requires_grad for name, parameter in trained.named_parameters()}
    with torch.no_grad():
        with_lora = trained(batch)
        with without_lora(trained):
            assert torch.equal(trained(batch), ranker(batch))
        assert torch.equal(trained(batch), with_lora)
    assert {name: parameter.requires_grad for name, parameter in trained.named_parameters()} == wanted
    with without_lora(ranker):  # which has none
        pass


@pytest.mark.parametrize("merge", [True, False])
def test_an_adapter_survives_saving(tiny_base, trained, batch, folder, merge):
    assert {path.name for path in folder.iterdir()} == {
        "README.md",
        "adapter_config.json",
        "adapter_model.safetensors",
        "georanker.json",
    }
    ranker = GeoRanker.from_pretrained(tiny_base, folder, device="cpu", merge=merge)
    assert type(ranker) is GeoRanker
    assert not ranker.training
    assert ranker.info == replace(INFO, base_model=str(tiny_base))
    assert ranker.packer.layout == "negatives_first"
    assert torch.equal(ranker.score.weight, trained.score.weight)
    assert any("lora" in name for name, _ in ranker.named_parameters()) != merge
    with torch.no_grad():
        torch.testing.assert_close(ranker(batch), trained(batch), atol=1e-5, rtol=1e-5)


def test_an_adapter_of_recurrent_layers_survives_saving(tiny_bases, make_image, tmp_path):
    """Its LoRA is on the one matrix of their queries, keys and values."""
    base = tiny_bases["qwen3_5"]
    torch.manual_seed(0)
    trained = add_lora(GeoRanker.from_pretrained(base, device="cpu"), r=4).eval()
    names = [name for name, parameter in trained.named_parameters() if parameter.requires_grad]
    layers = "base_model.model.backbone.language_model.layers."
    modules = ["0.linear_attn.in_proj_qkv", *(f"1.self_attn.{part}_proj" for part in "qkv")]
    wanted = {f"{layers}{module}.lora_{side}.default.weight" for module in modules for side in "AB"}
    assert set(names) == wanted | {"base_model.model.score.modules_to_save.default.weight"}
    for name in names:
        torch.nn.init.normal_(trained.get_parameter(name), std=0.3)
    save_adapter(trained, tmp_path / "adapter", AdapterInfo(str(base)))
    photos = {name: trained.packer.encode(make_image(40, 30)) for name in ("q.jpg", "c.jpg")}
    batch = trained.packer.pack([QUERY], photos)
    with torch.no_grad():
        expected = trained(batch)
        for merge in (True, False):
            ranker = GeoRanker.from_pretrained(base, tmp_path / "adapter", device="cpu", merge=merge)
            torch.testing.assert_close(ranker(batch), expected, atol=1e-5, rtol=1e-5)


def test_an_adapter_can_be_trained_on(tiny_base, trained, folder, batch):
    again = load_lora(GeoRanker.from_pretrained(tiny_base, device="cpu"), folder, trainable=True)
    names = [
        {name for name, parameter in model.named_parameters() if parameter.requires_grad} for model in (again, trained)
    ]
    assert names[0] == names[1]
    with torch.no_grad():
        torch.testing.assert_close(again.eval()(batch), trained(batch))


def test_peft_loads_the_folder_by_itself(tiny_base, trained, folder, batch):
    adapted = PeftModel.from_pretrained(GeoRanker.from_pretrained(tiny_base, device="cpu"), str(folder))
    with torch.no_grad():
        torch.testing.assert_close(adapted(batch, sharing="packed_row"), trained(batch))
    config = json.loads((folder / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == str(tiny_base)
    assert config["auto_mapping"] == {"base_model_class": "GeoRanker", "parent_library": "utils.geo_ranker"}


def test_settings_of_the_adapter_hold_unless_overridden(tiny_base, folder, make_image):
    photo = make_image(40, 40)
    ranker = GeoRanker.from_pretrained(tiny_base, folder, device="cpu")
    assert ranker.packer.encode(photo).grid_thw.prod() * 4**2 <= 512
    ranker = GeoRanker.from_pretrained(tiny_base, folder, device="cpu", max_pixels=1024, layout="published")
    assert 512 < ranker.packer.encode(photo).grid_thw.prod() * 4**2 <= 1024
    assert ranker.packer.layout == "published"


def test_another_base_than_the_one_trained_on_is_said(tiny_base, folder, tmp_path, caplog):
    def said() -> list[str]:
        return [record.getMessage() for record in caplog.records if record.name == "utils.geo_ranker"]

    GeoRanker.from_pretrained(tiny_base, folder, device="cpu")
    assert said() == []
    other = shutil.copytree(tiny_base, tmp_path / "other")
    GeoRanker.from_pretrained(other, folder, device="cpu")
    assert said() == [f"{folder} was trained on {tiny_base}, not on {other}"]


def test_an_adapter_without_georanker_json_means_the_published_prompt(tiny_base, folder):
    (folder / "georanker.json").unlink()
    ranker = GeoRanker.from_pretrained(tiny_base, folder, device="cpu")
    assert ranker.info == AdapterInfo(str(tiny_base), "published", 128, 1024, candidate_jpeg_quality=75)


@pytest.mark.parametrize(
    "name",
    [
        "base_model.model.score.weight",
        "base_model.model.backbone.language_model.layers.1.self_attn.k_proj.lora_B.weight",
    ],
)
def test_a_missing_tensor_is_an_error_that_names_it(tiny_base, folder, name):
    tensors = load_file(folder / "adapter_model.safetensors")
    del tensors[name]
    save_file(tensors, folder / "adapter_model.safetensors")
    with pytest.raises(ValueError, match=rf"missing tensors \['{name}'\], unexpected tensors \[\]"):
        GeoRanker.from_pretrained(tiny_base, folder, device="cpu")


def test_a_left_over_tensor_is_an_error_that_names_it(tiny_base, folder):
    tensors = load_file(folder / "adapter_model.safetensors")
    save_file(
        tensors | {"base_model.model.value_head.weight": torch.zeros(1, 32)},
        folder / "adapter_model.safetensors",
    )
    with pytest.raises(ValueError, match=r"unexpected tensors \['base_model.model.value_head.weight'\]"):
        GeoRanker.from_pretrained(tiny_base, folder, device="cpu")


def test_a_wrongly_shaped_tensor_is_an_error_that_names_both_shapes(tiny_base, folder):
    tensors = load_file(folder / "adapter_model.safetensors")
    tensors["base_model.model.score.weight"] = torch.zeros(1, 31)
    save_file(tensors, folder / "adapter_model.safetensors")
    message = r"wrongly shaped tensors \['base_model.model.score.weight \[1, 31\] instead of \[1, 32\]'\]"
    with pytest.raises(ValueError, match=message):
        GeoRanker.from_pretrained(tiny_base, folder, device="cpu")
