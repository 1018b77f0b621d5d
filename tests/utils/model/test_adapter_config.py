import json
from math import inf, nan

import pytest
from peft import LoraConfig

from tests.released import CONFIG
from utils.model.adapter_config import check_settings, read_config
from utils.model.adapter_names import HEAD, TARGETS

OURS = LoraConfig(r=4, lora_alpha=8, target_modules=TARGETS, modules_to_save=[HEAD]).to_dict()


@pytest.fixture
def write(tmp_path):
    (tmp_path / "adapter_model.safetensors").touch()

    def written(text: str):
        (tmp_path / "adapter_config.json").write_text(text)
        return tmp_path

    return written


@pytest.mark.parametrize(
    "values", [OURS, CONFIG, CONFIG | {"peft_version": "9.0", "new_variant": None, "other": False}]
)
def test_plain_loras_are_read(write, values):
    config = read_config(write(json.dumps(values, default=list)))
    assert (config.r, config.lora_alpha, config.modules_to_save) == (
        values["r"],
        values["lora_alpha"],
        values["modules_to_save"],
    )


def test_an_old_version_of_peft_left_out_what_it_did_not_know(write):
    old = {name: CONFIG[name] for name in ("peft_type", "r", "lora_alpha", "target_modules", "modules_to_save")}
    config = read_config(write(json.dumps(old)))
    assert (config.use_rslora, config.rank_pattern, config.lora_alpha) == (False, {}, 32)


@pytest.mark.parametrize("name", ["peft_type", "r", "lora_alpha", "target_modules", "modules_to_save"])
def test_what_every_version_writes_may_not_be_missing(name):
    with pytest.raises(ValueError, match=f"{name} is missing"):
        check_settings({key: value for key, value in CONFIG.items() if key != name})


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        *(("lora_alpha", value, "lora_alpha is") for value in (0, -1, 1e300, 10**400, inf, nan)),
        *(("lora_alpha", value, "lora_alpha cannot be") for value in (None, True, "32", [32], {"a": 32})),
        *(("r", value, "r is") for value in (0, -16, 10**30)),
        *(("r", value, "r cannot be") for value in (None, 16.0, "16", [], False)),
        *(("lora_dropout", value, "lora_dropout is") for value in (-0.1, 1, 1e300, nan)),
        ("lora_dropout", "much", "lora_dropout cannot be 'much'"),
        ("peft_type", "ADALORA", "peft_type is 'ADALORA'"),
        ("peft_type", 7, "peft_type cannot be 7"),
        *(("target_modules", value, "target_modules") for value in (None, 1, {}, ["q_proj", 1], [["q_proj"]])),
        *(("modules_to_save", value, "modules_to_save") for value in ("value_head", 1, {}, [None])),
        *(("use_rslora", value, "use_rslora cannot be") for value in (None, 0, 1, "no", [])),
        ("use_dora", "false", "use_dora cannot be 'false'"),
        ("init_lora_weights", "pissa", "init_lora_weights is 'pissa': it changes the base model"),
        ("rank_pattern", [], "rank_pattern cannot be"),
        ("rank_pattern", {"q_proj": 0}, "q_proj is 0"),
        ("rank_pattern", {"q_proj": "8"}, "q_proj cannot be '8'"),
        ("alpha_pattern", {"q_proj": -1}, "q_proj is -1"),
        ("alpha_pattern", {"q_proj": nan}, "q_proj is nan"),
        ("alpha_pattern", {"(": 8}, r"alpha_pattern names '\(': missing \)"),
        ("use_qalora", True, "use_qalora is set"),
        ("layers_to_transform", [0], "layers_to_transform is set"),
        ("bias", "all", "bias is set"),
        ("layer_replication", [[0, 2], [1, 2]], "layer_replication is set"),
        ("colour", "red", "colour is set: this peft does not know it"),
        ("base_model_name_or_path", 7, "base_model_name_or_path cannot be 7"),
        ("inference_mode", "yes", "inference_mode cannot be 'yes'"),
    ],
)
def test_nonsense_is_named(write, name, value, message):
    with pytest.raises(ValueError, match=rf"adapter_config\.json: {message}") as caught:
        read_config(write(json.dumps(CONFIG | {name: value})))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "text",
    ["", "[]", "null", "7", "{", '{"r": 1, "r": 2}', "[" * 100_000, '{"a":' * 5_000, "9" * 5_000, '{"r": \0}', "é" * 3],
)
def test_what_is_no_object_is_named(write, text):
    with pytest.raises(ValueError, match=r"adapter_config\.json: "):
        read_config(write(text))


def test_a_folder_without_one_is_none(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"is no adapter folder: adapter_config\.json is missing"):
        read_config(tmp_path)
