"""The published way of scoring, for comparison: every candidate's whole prompt with its own copy of the query photo.

Per candidate the query photo is decoded, resized and encoded again; prompts are padded on the left, in batches of 16;
the stock model returns the hidden states of all layers and logits over the whole vocabulary for every token, of which
the last hidden state of the last token is used. Nothing is slower than it was: weights, dtype, attention and
adapter are the very ones of the other side, and no key-value cache is kept.
"""

from collections.abc import Iterator, Sequence

import torch
from PIL import Image
from torch import Tensor
from transformers import PreTrainedModel

from utils.candidates import Query
from utils.geo_ranker import GeoRanker
from utils.model.packing import IMAGE_TOKEN
from utils.photos.store import ImageStore

BATCH_SIZE = 16

Prompt = tuple[str, list[Image.Image]]  # text with one placeholder a photo, photos


def prompts(ranker: GeoRanker, query: Query, photos: ImageStore, gallery: ImageStore) -> Iterator[Prompt]:
    """Every candidate's prompt and photos, opened for it."""
    frame, layout = ranker.packer.frame, ranker.packer.layout
    for candidate in query.candidates:
        shown = [photos.open(query.image)]
        if candidate.image is not None:
            shown.append(gallery.open(candidate.image))
        yield "".join(frame.prefix(query.negatives, layout) + frame.suffix(candidate, query.negatives, layout)), shown


def batch(ranker: GeoRanker, batched: Sequence[Prompt]) -> dict[str, Tensor]:
    """Prompts as the stock model's input, padded on the left."""
    packer = ranker.packer
    # The query's photo first; candidates' may have another size limit.
    packers = packer, ranker.candidate_packer
    images = [own.encode(image) for _, shown in batched for own, image in zip(packers, shown, strict=False)]
    tokens = iter([packer.image_tokens(image) for image in images])
    texts = []
    for text, _ in batched:
        head, *rest = text.split(IMAGE_TOKEN)
        texts.append(head + "".join(IMAGE_TOKEN * next(tokens) + piece for piece in rest))
    inputs = packer.tokenizer(texts, padding=True, padding_side="left", return_tensors="pt")
    return {
        "input_ids": inputs["input_ids"],
        "attention_mask": inputs["attention_mask"],
        "mm_token_type_ids": (inputs["input_ids"] == packer.image_token_id).long(),
        "pixel_values": torch.cat([image.pixel_values for image in images]),
        "image_grid_thw": torch.stack([image.grid_thw for image in images]),
    }


def batches(ranker: GeoRanker, query: Query, photos: ImageStore, gallery: ImageStore) -> Iterator[dict[str, Tensor]]:
    """The candidates of a query, at most 16 at a time."""
    whole = list(prompts(ranker, query, photos, gallery))
    for start in range(0, len(whole), BATCH_SIZE):
        yield batch(ranker, whole[start : start + BATCH_SIZE])


def to(inputs: dict[str, Tensor], device: torch.device) -> dict[str, Tensor]:
    return {name: tensor.to(device) for name, tensor in inputs.items()}


def with_positions(ranker: GeoRanker, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
    """``inputs`` with the positions that the stock model would work out: kept out of the time of its work."""
    positions, _ = ranker.packer.rope_index(
        inputs["input_ids"],
        mm_token_type_ids=inputs["mm_token_type_ids"],
        image_grid_thw=inputs["image_grid_thw"],
        attention_mask=inputs["attention_mask"],
    )
    return inputs | {"position_ids": positions}


def rewards(stock: PreTrainedModel, ranker: GeoRanker, inputs: dict[str, Tensor]) -> Tensor:
    """Rewards of a batch, float32 (prompts,)."""
    output = stock(**inputs, output_hidden_states=True, use_cache=False)
    last = output.hidden_states[-1][:, -1]  # (prompts, hidden), after the final norm
    with torch.autocast(last.device.type, enabled=False):
        return ranker.score(last.float()).squeeze(-1)
