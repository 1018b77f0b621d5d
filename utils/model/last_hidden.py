"""The last hidden state of every candidate's prompt, in either way of sharing the prefix (``sharing.py``).

Of the language model's output only the last token of a prompt counts: the score head turns it into the reward.
"""

from collections.abc import Callable
from typing import TypeAlias

import torch
from torch import BoolTensor, LongTensor, Tensor
from transformers import DynamicCache, PreTrainedModel
from transformers.integrations import is_deepspeed_zero3_enabled

from utils.model.batch import PackedBatch
from utils.model.last_layer import last_layer_only_at
from utils.model.prefix_cache import over_prefixes
from utils.model.recurrence import is_recurrent

# Which keys each token attends to, (rows, length, keys) bool -> the mask that the language model's attention takes.
MakeMask: TypeAlias = Callable[[BoolTensor], Tensor]


def with_prefix_cache(backbone: PreTrainedModel, batch: PackedBatch, features: Tensor, make_mask: MakeMask) -> Tensor:
    """(N, hidden): first the prefixes, then the suffixes over their cache.

    ``features`` (1 + deepstack layers, tokens, hidden) are those of the batch's photos. Raises ``ValueError`` under
    gradient checkpointing, which keeps no cache.
    """
    language_model = backbone.language_model
    if language_model.training and any(layer.gradient_checkpointing for layer in language_model.layers):
        raise ValueError("gradient checkpointing keeps no cache: use sharing='packed_row'")
    if not is_recurrent(backbone.config):
        return _with_prefix_cache(backbone, batch, features, make_mask)
    parts = batch.by_prefix_length()
    hidden = torch.cat([_with_prefix_cache(backbone, part, features, make_mask) for _, part in parts])
    return hidden[torch.cat([chosen for chosen, _ in parts]).argsort()]


def _with_prefix_cache(backbone: PreTrainedModel, batch: PackedBatch, features: Tensor, make_mask: MakeMask) -> Tensor:
    """The same; for recurrent layers all prefixes are of one length."""
    language_model = backbone.language_model
    # Padding stands on the right, where no real token sees it: plain causal attention is all it takes.
    with last_layer_only_at(language_model, torch.zeros_like(batch.prefix_mask)):
        cache = language_model(
            **_embed(backbone, batch.prefix_ids, batch.prefix_image_rows, features),
            position_ids=batch.prefix_positions,
            use_cache=True,
        ).past_key_values
    # Under ZeRO-3 processes exchange weights in every call: all of them must make as many, whatever their batches.
    everything = torch.arange(len(batch.suffix_ids), device=batch.suffix_ids.device)
    parts = [everything] if is_deepspeed_zero3_enabled() else batch.suffixes_by_length()
    hidden = torch.cat([_suffixes(backbone, batch, features, cache, chosen, make_mask) for chosen in parts])
    return hidden[torch.cat(parts).argsort()]


def _suffixes(
    backbone: PreTrainedModel,
    batch: PackedBatch,
    features: Tensor,
    prefixes: DynamicCache,
    chosen: LongTensor,
    make_mask: MakeMask,
) -> Tensor:
    """The last token of the ``chosen`` suffixes, (chosen, hidden)."""
    length = int(batch.suffix_mask[chosen].sum(1).max())
    shared = batch.prefix_mask[batch.query_index[chosen], None].expand(-1, length, -1)  # (chosen, S, P)
    own = shared.new_ones(length, length).tril().expand(len(chosen), -1, -1)  # (chosen, S, S)
    last = batch.suffix_last()[chosen, :length]
    with last_layer_only_at(backbone.language_model, last):
        hidden = backbone.language_model(
            **_embed(backbone, batch.suffix_ids[chosen, :length], batch.suffix_image_rows[chosen, :length], features),
            position_ids=batch.suffix_positions[:, chosen, :length],
            attention_mask=make_mask(torch.cat([shared, own], dim=-1)),
            past_key_values=over_prefixes(prefixes, batch.query_index[chosen]),
            use_cache=True,
        ).last_hidden_state
    return hidden[last]


def with_packed_rows(backbone: PreTrainedModel, batch: PackedBatch, features: Tensor, make_mask: MakeMask) -> Tensor:
    """(N, hidden): each query's prefix and suffixes as one row; ``features`` as above.

    Raises ``ValueError`` for recurrent layers, whose state a mask does not clear of the suffixes before.
    """
    if is_recurrent(backbone.config):
        raise ValueError("the base model has recurrent layers, which see a whole row: use sharing='prefix_cache'")
    rows = batch.rows()
    # A token sees what comes before it in the prefix and in its own suffix: (B, queries, keys).
    seen = rows.segment[:, None, :]
    allowed = ((seen == 0) | (seen == rows.segment[:, :, None])).tril()
    with last_layer_only_at(backbone.language_model, rows.last):
        hidden = backbone.language_model(
            **_embed(backbone, rows.ids, rows.image_rows, features),
            position_ids=rows.positions,
            attention_mask=make_mask(allowed),
            use_cache=False,
        ).last_hidden_state
    return hidden[rows.last]


def _embed(
    backbone: PreTrainedModel, ids: LongTensor, image_rows: LongTensor, features: Tensor
) -> dict[str, Tensor | list[Tensor]]:
    """The language model's input at ``ids`` (rows, length): embeddings, features at image tokens."""
    embeddings = backbone.get_input_embeddings()(ids)  # (rows, length, hidden)
    is_image = image_rows >= 0
    # (1 + deepstack layers, image tokens, hidden)
    visual = features[:, image_rows[is_image]].to(embeddings.dtype)
    inputs = {"inputs_embeds": embeddings.masked_scatter(is_image[..., None], visual[0])}
    if len(visual) > 1:
        inputs |= {"visual_pos_masks": is_image, "deepstack_visual_embeds": list(visual[1:])}
    return inputs
