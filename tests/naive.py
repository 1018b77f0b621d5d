"""The naive way to score, the oracle of the tests: one candidate, one plain forward of the stock model."""

from collections.abc import Callable, Mapping, Sequence

import torch
from PIL import Image
from torch import Tensor
from transformers import BaseImageProcessor, PreTrainedModel

from utils.candidates import Query
from utils.model.packing import Packer
from utils.model.prompts import negative_examples, question


def naive_rewards(
    backbone: PreTrainedModel,
    score: Callable[[Tensor], Tensor],
    packer: Packer,
    queries: Sequence[Query],
    photos: Mapping[str, Image.Image],
    candidate_processor: BaseImageProcessor | None = None,
) -> Tensor:
    """Every candidate's whole prompt through ``backbone``, one after the other: (N,).

    ``score`` maps the last hidden state (hidden,) to a reward (1,). Of ``packer`` only the tokenizer, the image
    processor and the layout are used; ``candidate_processor`` has its place for candidates' photos.
    """
    tokenizer, processor = packer.tokenizer, packer.image_processor
    processors = processor, candidate_processor or processor
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
            pairs = zip(processors, shown, strict=False)
            pixels = [own(images=photo, return_tensors="pt") for own, photo in pairs]
            grids = torch.cat([own["image_grid_thw"] for own in pixels])
            prompt = tokenizer.apply_chat_template(
                [{"role": "user", "content": parts}], tokenize=False, add_generation_prompt=True, enable_thinking=False
            )
            head, *rest = prompt.split("<|image_pad|>")
            for grid, piece in zip(grids, rest, strict=True):
                head += "<|image_pad|>" * (int(grid.prod()) // 4) + piece
            ids = tokenizer(head, return_tensors="pt")["input_ids"]
            hidden = backbone(
                input_ids=ids,
                attention_mask=torch.ones_like(ids),
                mm_token_type_ids=(ids == backbone.config.image_token_id).int(),
                pixel_values=torch.cat([own["pixel_values"] for own in pixels]),
                image_grid_thw=grids,
            ).last_hidden_state
            rewards.append(score(hidden[0, -1])[0])
    return torch.stack(rewards)
