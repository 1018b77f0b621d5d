"""Work that does not fit into memory is halved, and halved again: no photo ends a run."""

import logging
from collections.abc import Callable, Iterator
from typing import TypeVar

import torch
from torch import Tensor

from utils.model.batch import PackedBatch, part

logger = logging.getLogger(__name__)

Result = TypeVar("Result")


def in_halves(
    work: Callable[[int, int], Result], start: int, stop: int, name: str
) -> Iterator[tuple[int, int, Result | None]]:
    """(start, stop, ``work(start, stop)``) of as many parts as it takes, in order; None for a single one too large.

    Args:
        work: what is to be done for items ``start`` to ``stop``, at least one; raises ``torch.OutOfMemoryError``.
        name: what the items are, in the plural.
    """
    try:
        result = work(start, stop)
    except torch.OutOfMemoryError as error:
        reason = str(error).split(". ")[0]
    else:
        yield start, stop, result
        return
    # Behind the handler: until then the exception holds on to what filled the memory.
    torch.cuda.empty_cache()
    count = stop - start
    if count == 1:
        yield start, stop, None
        return
    logger.warning("%d %s together do not fit into memory and are halved: %s", count, name, reason)
    middle = start + (count + 1) // 2
    yield from in_halves(work, start, middle, name)
    yield from in_halves(work, middle, stop, name)


def score_in_halves(
    score: Callable[[PackedBatch], Tensor], batch: PackedBatch, merge_size: int
) -> tuple[Tensor, list[int]]:
    """Rewards (N,) of the batch's candidates on the CPU, and which candidates do not fit even alone (NaN there).

    Args:
        score: batch -> rewards (N,); raises ``torch.OutOfMemoryError`` for too large a batch.
        merge_size: patches along a side of an image token, as the image processor says.
    """
    count = len(batch.query_index)

    def rewards_of(start: int, stop: int) -> Tensor:
        whole = stop - start == count
        return score(batch if whole else part(batch, start, stop, merge_size)).cpu()

    rewards, too_large = torch.full((count,), torch.nan), []
    for start, stop, found in in_halves(rewards_of, 0, count, "candidates"):
        if found is None:
            too_large.append(start)
        else:
            rewards[start:stop] = found
    return rewards, too_large
