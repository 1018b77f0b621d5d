"""Recurrent layers: linear attention, which keeps one state for all tokens before, where others keep keys and values.

Whatever stands before a token is in that state, padding too, and nothing can be masked in it afterwards. So suffixes
start from copies of the state behind their prefix (``PrefixState``), and prefixes share a call only where none is
padded (``PackedBatch.by_prefix_length``).
"""

from collections.abc import Mapping

import torch
from torch import LongTensor, Tensor
from transformers import DynamicCache, PreTrainedConfig
from transformers.cache_utils import LinearAttentionLayer


def is_recurrent(config: PreTrainedConfig) -> bool:
    """Whether any layer of the language model that ``config`` describes is recurrent."""
    return any(isinstance(layer, LinearAttentionLayer) for layer in DynamicCache(config=config).layers)


class PrefixState(LinearAttentionLayer):
    """The state of a recurrent layer behind the prefixes, as its cache for a call on suffixes; it stays as it is.

    The stock one writes the new state over the old, which the backward pass needs, and which other suffixes start
    from. ``index`` (suffixes,) says which prefix a suffix belongs to: states are copied when the layer asks for them,
    since those of all layers take more memory than the prefixes' keys and values.
    """

    def __init__(self, prefixes: LinearAttentionLayer, index: LongTensor) -> None:
        super().__init__()
        self.has_previous_state = prefixes.has_previous_state
        self.conv_states = _Rows(prefixes.conv_states, index)
        self.recurrent_states = _Rows(prefixes.recurrent_states, index)

    def update_conv_state(self, conv_states: Tensor, state_idx: int = 0, **kwargs) -> Tensor:
        """The inputs of the convolution: (suffixes, channels, those kept of the prefix + length)."""
        return torch.cat([self.conv_states[state_idx], conv_states], dim=-1)

    def update_recurrent_state(self, recurrent_states: Tensor, state_idx: int = 0, **kwargs) -> Tensor:
        """Nothing comes after a suffix."""
        return recurrent_states


class _Rows(dict[int, Tensor]):
    """States of which the rows ``index`` are taken anew whenever one is asked for."""

    def __init__(self, states: Mapping[int, Tensor], index: LongTensor) -> None:
        super().__init__(states)
        self.index = index

    def __getitem__(self, number: int) -> Tensor:
        return super().__getitem__(number)[self.index]
