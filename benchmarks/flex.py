"""Our side with flex_attention and block masks, to be measured against what the ranker uses.

    python -m benchmarks.ranking --attn_implementation flex_attention --sharing packed_row

A block mask leaves out the blocks of a mask in which nothing is seen: most of a packed row, and in a suffix what lies
ahead. Plain calls of the same model, the published side and our prefixes, go on with SDPA. Kernels are compiled at the
first call (on a CPU by a C++ compiler, for inference only: torch 2.13 has no backward of it there).
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention.flex_attention import BlockMask, create_block_mask
from transformers import AttentionInterface
from transformers.integrations.flex_attention import flex_attention_forward
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import AttentionMaskInterface, sdpa_mask

from utils.geo_ranker import GeoRanker

BY_MASK = "by_mask"  # a name that says "flex_attention" transformers 5.23 refuses for a Qwen-VL


def attention_by_mask(
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | BlockMask | None, **others: Any
) -> tuple[Tensor, Tensor | None]:
    forward = flex_attention_forward if isinstance(mask, BlockMask) else sdpa_attention_forward
    return forward(module, query, key, value, mask, **others)


AttentionInterface.register(BY_MASK, attention_by_mask)
AttentionMaskInterface.register(BY_MASK, sdpa_mask)


class FlexRanker(GeoRanker):
    """A ranker whose masks are block masks."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.backbone.language_model.config._attn_implementation = BY_MASK

    def _mask(self, allowed: Tensor) -> BlockMask:
        """(rows, length, keys) bool -> block mask, the same for all heads."""

        def seen(row: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
            return allowed[row, query, key]

        return create_block_mask(seen, len(allowed), None, *allowed.shape[1:], device=allowed.device)


def compiled_graphs() -> int:
    """How many torch has compiled in this process."""
    return torch._dynamo.utils.counters["stats"]["unique_graphs"]
