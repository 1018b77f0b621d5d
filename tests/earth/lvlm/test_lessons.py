import numpy as np
import torch

from earth.lvlm.lessons import guess_lessons, lesson_loss
from earth.lvlm.model import image_processor
from earth.lvlm.tiles import encode_tiles, patches, use_tile_attention
from earth.recipe import TOKENS
from utils.model.prompts import ChatFrame


def test_lesson_loss_is_the_stock_models_on_the_answers(model, tokenizer, tiles):
    """One lesson at a time through the stock forward with labels; their answers have the same length in all."""
    frame = ChatFrame.of(tokenizer)
    points = np.array([[1.5, -2.25], [-10.25, 100.5], [3.5, 4.75], [60.25, -1.5], [0.5, 7.25]])
    processor = image_processor()
    lessons = guess_lessons(frame, points, np.arange(5))
    losses, lengths = [], []
    with torch.no_grad():
        use_tile_attention(model)
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
