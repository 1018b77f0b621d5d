"""A batch that does not fit into memory is halved, and halved again: no photo ends a run."""

import warnings
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from utils.packing import PackedBatch


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


def part(batch: PackedBatch, start: int, stop: int, merge_size: int) -> PackedBatch:
    """Candidates ``start`` to ``stop`` of a batch with what they need: their prefixes, their photos, less padding."""
    index = batch.query_index[start:stop]
    prefixes, suffixes = slice(int(index[0]), int(index[-1]) + 1), slice(start, stop)
    longest_prefix = int(batch.prefix_mask[prefixes].sum(1).max())
    longest_suffix = int(batch.suffix_mask[suffixes].sum(1).max())
    prefix_rows = batch.prefix_image_rows[prefixes, :longest_prefix]
    suffix_rows = batch.suffix_image_rows[suffixes, :longest_suffix]

    # Photos that nothing refers to any longer are taken out, and the rows of features counted anew.
    patches = batch.image_grid_thw.prod(-1)  # (images,)
    image_of_row = torch.arange(len(patches)).repeat_interleave(patches // merge_size**2)
    shown = torch.cat([prefix_rows.flatten(), suffix_rows.flatten()])
    kept = torch.zeros(len(patches), dtype=torch.bool)
    kept[image_of_row[shown[shown >= 0]]] = True
    kept_rows = kept[image_of_row]  # (feature rows,)
    new_row = kept_rows.cumsum(0) - 1

    def renumbered(rows: Tensor) -> Tensor:
        return torch.where(rows >= 0, new_row[rows], -1)

    pixels, features = batch.pixel_values, batch.features
    return replace(
        batch,
        prefix_ids=batch.prefix_ids[prefixes, :longest_prefix],
        prefix_mask=batch.prefix_mask[prefixes, :longest_prefix],
        prefix_positions=batch.prefix_positions[:, prefixes, :longest_prefix],
        prefix_image_rows=renumbered(prefix_rows),
        suffix_ids=batch.suffix_ids[suffixes, :longest_suffix],
        suffix_mask=batch.suffix_mask[suffixes, :longest_suffix],
        suffix_positions=batch.suffix_positions[:, suffixes, :longest_suffix],
        suffix_image_rows=renumbered(suffix_rows),
        query_index=index - index[0],
        image_grid_thw=batch.image_grid_thw[kept],
        pixel_values=None if pixels is None else pixels[kept.repeat_interleave(patches)],
        features=None if features is None else features[:, kept_rows],
    )
