"""The cache of prefixes, as calls of the language model on suffixes see it."""

from copy import copy

import torch
from torch import LongTensor, Tensor
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer, LinearAttentionLayer

from utils.model.recurrence import PrefixState


def over_prefixes(prefixes: DynamicCache, index: LongTensor) -> DynamicCache:
    """The cache for a call on suffixes of the prefixes ``index`` (suffixes,); ``prefixes`` stays as it is."""
    cache = copy(prefixes)
    cache.layers = [
        (PrefixState if isinstance(layer, LinearAttentionLayer) else PrefixKeys)(layer, index)
        for layer in prefixes.layers
    ]
    return cache


class PrefixKeys(DynamicLayer):
    """Keys and values of the prefixes, (prefixes, heads, length, width) each, which stay as they are.

    ``index`` (suffixes,) says which prefix a suffix belongs to. The stock cache would have them once a suffix in all
    layers at a time, and keep what the suffixes add. Nothing comes after a suffix: a layer gets them when it asks.
    """

    def __init__(self, prefixes: DynamicLayer, index: LongTensor) -> None:
        super().__init__()
        self.keys, self.values = prefixes.keys, prefixes.values
        self.is_initialized = True
        self.index = index

    def update(self, key_states: Tensor, value_states: Tensor, *args, **kwargs) -> tuple[Tensor, Tensor]:
        """Of prefix and suffix, (suffixes, heads, length of both, width) each."""
        return self._joined(self.keys, key_states), self._joined(self.values, value_states)

    def _joined(self, prefixes: Tensor, own: Tensor) -> Tensor:
        alone = len(prefixes) == 1  # then it is not copied before it is joined
        shared = prefixes.expand(len(own), -1, -1, -1) if alone else prefixes[self.index]
        return torch.cat([shared, own], dim=-2)
