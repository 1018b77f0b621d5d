import numpy as np
import pytest
import torch
from PIL import Image
from transformers import AutoConfig, AutoModel, AutoModelForImageTextToText, AutoTokenizer
from transformers.models.auto.image_processing_auto import AutoImageProcessor

from earth.lvlm import model as lvlm
from earth.lvlm.pretrain_data import patches
from earth.lvlm.pretrain_lvlm import TOKENS, encode_tiles, guess_lessons, lesson_loss
from earth.world.imagery import TILE_PIXELS
from tests.earth.pretraining import BASE
from utils.model.prompts import GENERATION_PROMPT, ChatFrame


@pytest.fixture(scope="module")
def tokenizer():
    places = [f"How far is this place from latitude: {n}.5, longitude: -{n}.25, Town{n}?" for n in range(3000)]
    return lvlm.train_tokenizer([GENERATION_PROMPT, *places] * 2)


@pytest.fixture(scope="module")
def model(tokenizer):
    torch.manual_seed(0)
    return lvlm.build_model(tokenizer).eval()


@pytest.fixture
def tiles() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (5, TILE_PIXELS, TILE_PIXELS, 3), dtype=np.uint8)


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
    assert AutoImageProcessor.from_pretrained(tmp_path, backend="pil").patch_size == lvlm.PATCH_PIXELS


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


def test_patches_are_those_of_the_image_processor(tiles):
    processor = lvlm.image_processor()
    expected = processor(images=[Image.fromarray(tile) for tile in tiles], return_tensors="pt")
    assert expected["image_grid_thw"].tolist() == [[1, 8, 8]] * len(tiles)
    found = patches(tiles, processor.image_mean, processor.image_std)
    torch.testing.assert_close(found, expected["pixel_values"].float(), atol=1e-5, rtol=0)


def test_tile_attention_is_the_stock_towers(model, tiles):
    processor = lvlm.image_processor()
    pixels = patches(tiles, processor.image_mean, processor.image_std)
    model.set_attn_implementation({"vision_config": "sdpa"})
    with torch.no_grad():
        stock = model.model.get_image_features(pixels, torch.tensor([[1, 8, 8]] * len(tiles))).pooler_output
        model.set_attn_implementation({"vision_config": "tile_attention"})
        torch.testing.assert_close(encode_tiles(model, tiles), torch.stack(stock), atol=1e-5, rtol=0)


def test_lesson_loss_is_the_stock_models_on_the_answers(model, tokenizer, tiles):
    """One lesson at a time through the stock forward with labels; their answers have the same length in all."""
    frame = ChatFrame.of(tokenizer)
    points = np.array([[1.5, -2.25], [-10.25, 100.5], [3.5, 4.75], [60.25, -1.5], [0.5, 7.25]])
    processor = lvlm.image_processor()
    lessons = guess_lessons(frame, points, np.arange(5))
    losses, lengths = [], []
    with torch.no_grad():
        model.set_attn_implementation({"vision_config": "tile_attention"})
        found, _ = lesson_loss(model, tokenizer, lessons, encode_tiles(model, tiles))
        model.set_attn_implementation({"vision_config": "sdpa"})
        for tile, lesson in zip(tiles, lessons, strict=True):
            prompt = tokenizer(lesson.prompt.replace("<|image_pad|>", "<|image_pad|>" * TOKENS)).input_ids
            answer = tokenizer(lesson.answer + "<|im_end|>").input_ids
            ids = torch.tensor([prompt + answer])
            output = model(
                input_ids=ids,
                pixel_values=patches(tile[None], processor.image_mean, processor.image_std),
                image_grid_thw=torch.tensor([[1, 8, 8]]),
                mm_token_type_ids=(ids == model.config.image_token_id).int(),
                labels=torch.tensor([[-100] * len(prompt) + answer]),
            )
            losses.append(output.loss)
            lengths.append(len(answer))
    expected = (torch.stack(losses) * torch.tensor(lengths)).sum() / sum(lengths)
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=0)
