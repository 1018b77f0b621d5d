"""A batch that does not fit into memory is halved, and halved again: no photo ends a run."""

import warnings
from collections.abc import Callable

import torch
from torch import Tensor

from utils.model.batch import PackedBatch, part


def score_in_halves(
    score: Callable[[PackedBatch], Tensor], batch: PackedBatch, merge_size: int
) -> tuple[Tensor, list[int]]:
    """Rewards (N,) of the batch's candidates on the CPU, and which candidates do not fit even alone (NaN there).

    Args:
        score: batch -> rewards (N,); raises ``torch.OutOfMemoryError`` for too large a batch.
        merge_size: patches along a side of an image token, as the image processor says.
    """
    try:
        return score(batch).cpu(), []
    except torch.OutOfMemoryError as error:
        reason = str(error).split(". ")[0]
    # Behind the handler: until then the exception holds on to what filled the memory.
    torch.cuda.empty_cache()
    count = len(batch.query_index)
    if count == 1:
        return torch.full((1,), torch.nan), [0]
    warnings.warn(f"{count} candidates together do not fit into memory and are halved: {reason}", stacklevel=2)
    middle = count // 2
    first, lost_first = score_in_halves(score, part(batch, 0, middle, merge_size), merge_size)
    second, lost_second = score_in_halves(score, part(batch, middle, count, merge_size), merge_size)
    return torch.cat([first, second]), [*lost_first, *(middle + number for number in lost_second)]
