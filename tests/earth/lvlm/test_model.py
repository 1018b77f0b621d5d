import torch
from transformers import AutoConfig, AutoModel, AutoModelForImageTextToText, AutoTokenizer
from transformers.models.auto.image_processing_auto import AutoImageProcessor

from earth.lvlm import model as lvlm
from earth.recipe import PATCH_PIXELS
from tests.earth.pretraining import BASE
from utils.model.prompts import ChatFrame


def test_fewer_than_ten_million_parameters(model):
    assert 1e6 < sum(parameter.numel() for parameter in model.parameters()) < 10e6


def test_the_shipped_weights_are_of_this_model():
    shipped = AutoConfig.from_pretrained(BASE)
    built = lvlm.build_model(AutoTokenizer.from_pretrained(BASE)).config
    for part in ("text_config", "vision_config"):
        ours, theirs = (getattr(config, part).to_dict() for config in (built, shipped))
        assert {**ours, "dtype": None} == {**theirs, "dtype": None}


def test_saved_folder_is_an_ordinary_checkpoint_in_bfloat16(model, tokenizer, tmp_path):
    lvlm.save(model, tokenizer, tmp_path)
    _, info = AutoModel.from_pretrained(tmp_path, output_loading_info=True)
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]
    loaded, info = AutoModelForImageTextToText.from_pretrained(tmp_path, output_loading_info=True)
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]
    kept = model.state_dict()
    for name, tensor in loaded.state_dict().items():
        assert torch.equal(tensor.float(), kept[name].bfloat16().float()), name
    assert loaded.lm_head.weight is loaded.get_input_embeddings().weight
    again = AutoTokenizer.from_pretrained(tmp_path)
    assert again.get_vocab() == tokenizer.get_vocab()
    assert ChatFrame.of(again) == ChatFrame.of(tokenizer)
    assert AutoImageProcessor.from_pretrained(tmp_path, backend="pil").patch_size == PATCH_PIXELS


def test_every_digit_is_a_token(tokenizer):
    assert tokenizer.tokenize("-12.75") == ["-", "1", "2", ".", "7", "5"]


def test_chat_template_writes_what_qwen2_vl_does(tokenizer):
    content = [{"type": "image"}, {"type": "text", "text": "Where?"}]
    turn = [{"role": "user", "content": content}]
    assert tokenizer.apply_chat_template(turn, tokenize=False, add_generation_prompt=True) == (
        "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n"
        "<|im_start|>user\n<|vision_start|><|image_pad|><|vision_end|>Where?<|im_end|>\n"
        "<|im_start|>assistant\n"
    )
