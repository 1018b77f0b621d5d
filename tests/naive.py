"""The naive way to score, the oracle of the tests: one candidate, one plain forward of the stock model."""

from collections.abc import Callable, Mapping, Sequence

import torch
from PIL import Image
from torch import Tensor
from transformers import PreTrainedModel

from utils.candidates import Query
from utils.model.packing import Packer
from utils.model.prompts import negative_examples, question


def naive_rewards(
    backbone: PreTrainedModel,
    score: Callable[[Tensor], Tensor],
    packer: Packer,
    queries: Sequence[Query],
    photos: Mapping[str, Image.Image],
) -> Tensor:
    """Every candidate's whole prompt through ``backbone``, one after the other: (N,).

    ``score`` maps the last hidden state (hidden,) to a reward (1,). Of ``packer`` only the tokenizer, the image
    processor and the layout are used.
    """
    tokenizer, processor = packer.tokenizer, packer.image_processor
    rewards = []
    for query in queries:
        negatives = negative_examples(query.negatives)
        for candidate in query.candidates:
            text, image = (lambda words: {"type": "text", "text": words}), {"type": "image"}
            own = [text(question(candidate))] + [image] * (candidate.image is not None)
            if packer.layout == "published":
                parts = [image, *own, text(negatives)]
            else:
                parts = [image, text(negatives + "\n" if negatives else ""), *own]
            shown = [photos[name] for name in (query.image, candidate.image) if name is not None]
            pixels = processor(images=shown, return_tensors="pt")
            prompt = tokenizer.apply_chat_template(
                [{"role": "user", "content": parts}], tokenize=False, add_generation_prompt=True, enable_thinking=False
            )
            head, *rest = prompt.split("<|image_pad|>")
            for grid, piece in zip(pixels["image_grid_thw"], rest, strict=True):
                head += "<|image_pad|>" * (int(grid.prod()) // 4) + piece
            ids = tokenizer(head, return_tensors="pt")["input_ids"]
            hidden = backbone(
                input_ids=ids,
                attention_mask=torch.ones_like(ids),
                mm_token_type_ids=(ids == backbone.config.image_token_id).int(),
                pixel_values=pixels["pixel_values"],
                image_grid_thw=pixels["image_grid_thw"],
            ).last_hidden_state
            rewards.append(score(hidden[0, -1])[0])
    return torch.stack(rewards)
