import json
import shutil

import pytest

from utils.geo_ranker import GeoRanker


@pytest.fixture
def base(tiny_base, tmp_path):
    return shutil.copytree(tiny_base, tmp_path / "base")


def refusal(base, file, text):
    whole = (base / file).read_text()
    (base / file).write_text(text)
    with pytest.raises(ValueError, match="base") as caught:
        GeoRanker.from_pretrained(base, device="cpu")
    (base / file).write_text(whole)
    assert file in str(caught.value)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("file", "values", "message"),
    [
        ("preprocessor_config.json", {"patch_size": 8}, "patch_size is 8, but patch_size is 4 in config.json"),
        ("preprocessor_config.json", {"merge_size": "2"}, "merge_size"),
        ("preprocessor_config.json", {"size": {"shortest_edge": 1024, "longest_edge": 128}}, "[1024, 128]"),
        ("preprocessor_config.json", {"size": {"shortest_edge": -1, "longest_edge": 128}}, "[-1, 128]"),
        ("preprocessor_config.json", {"size": {"shortest_edge": "128", "longest_edge": 1024}}, ""),
        ("preprocessor_config.json", {"size": []}, ""),
        ("preprocessor_config.json", {"size": None}, "size cannot be null"),
        ("preprocessor_config.json", {"image_std": [0.2, 0, 0.2]}, "image_std is"),
        ("preprocessor_config.json", {"image_std": [0.2, True, 0.2]}, "image_std is"),
        ("preprocessor_config.json", {"image_mean": [0.2, 0.2]}, "image_mean is"),
        ("preprocessor_config.json", {"image_mean": 10**400}, ""),
        ("preprocessor_config.json", {"image_mean": [float("nan")] * 3}, "image_mean is"),
        ("preprocessor_config.json", {"rescale_factor": -1}, "rescale_factor is -1"),
        ("preprocessor_config.json", {"resample": 77}, "77"),
        ("preprocessor_config.json", {"do_normalize": "no"}, "do_normalize cannot be 'no'"),
        ("preprocessor_config.json", {"do_normalize": None}, "do_normalize cannot be null"),
        ("preprocessor_config.json", {"image_processor_type": "X"}, ""),
        ("tokenizer_config.json", {"tokenizer_class": 7}, ""),
        ("tokenizer_config.json", {"pad_token": None}, "pad_token is missing"),
        ("tokenizer_config.json", {"model_max_length": []}, "model_max_length cannot be []"),
        ("tokenizer.json", {"model": None}, ""),
        ("config.json", {"image_token_id": 5}, "<|image_pad|> is token"),
    ],
)
def test_damaged_settings_are_named(base, file, values, message):
    whole = json.loads((base / file).read_text())
    assert message in refusal(base, file, json.dumps(whole | values))


@pytest.mark.parametrize("file", ["preprocessor_config.json", "tokenizer_config.json", "tokenizer.json"])
@pytest.mark.parametrize("text", ["", "[]", "null", "{", "[" * 100_000])
def test_what_is_no_object_is_named(base, file, text):
    refusal(base, file, text)


@pytest.mark.parametrize(
    "change", [("endfor", "end"), ("<|image_pad|>", ""), ("part.text", "''"), ("{%- for", "{{ 1 / 0 }}{%- for")]
)
def test_a_damaged_chat_template_is_named(base, change):
    refusal(base, "chat_template.jinja", (base / "chat_template.jinja").read_text().replace(*change))
