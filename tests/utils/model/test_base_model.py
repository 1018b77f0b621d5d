import json
import shutil

import pytest
from transformers import Qwen3_5MoeConfig, Qwen3VLMoeConfig

from utils.geo_ranker import GeoRanker
from utils.model.base_model import check_base


@pytest.mark.parametrize("config_class", [Qwen3_5MoeConfig, Qwen3VLMoeConfig])
def test_a_mixture_of_experts_is_refused_by_its_configuration(tmp_path, config_class):
    config_class().save_pretrained(tmp_path)
    message = rf"^{tmp_path} is a mixture of experts \({config_class.model_type}\): take a dense model as base$"
    with pytest.raises(ValueError, match=message):
        GeoRanker.from_pretrained(tmp_path, device="cpu")


def test_recurrent_layers_are_refused_under_zero3(tiny_bases, monkeypatch):
    for zero3 in (False, True):
        monkeypatch.setattr("utils.model.base_model.is_deepspeed_zero3_enabled", lambda zero3=zero3: zero3)
        check_base(tiny_bases["qwen3_vl"])
        if not zero3:
            check_base(tiny_bases["qwen3_5"])
    with pytest.raises(ValueError, match=r"has recurrent layers, .*: take deepspeed_config/zero2\.json$"):
        GeoRanker.from_pretrained(tiny_bases["qwen3_5"], device="cpu")


def test_a_damaged_configuration_is_named(tiny_base, tmp_path):
    base = shutil.copytree(tiny_base, tmp_path / "base")
    (base / "config.json").write_text(json.dumps({"model_type": "ghost"}))
    with pytest.raises(ValueError, match=r"base/config\.json: "):
        check_base(base)
