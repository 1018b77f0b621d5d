"""What goes through a model at once: photos and queries as tensors, padded, with each distinct photo once."""

from collections.abc import Callable, Hashable
from dataclasses import dataclass, replace

import torch
from torch import BoolTensor, FloatTensor, LongTensor, Tensor
from torch.nn.utils.rnn import pad_sequence

# A call of the model has to save so many tokens of padding. A GPU reads the weights in the time in which it computes
# some 300 tokens (an H100's 990 TFLOP/s in bfloat16 over 3.35 TB/s).
CALL_TOKENS = 512


@dataclass
class EncodedImage:
    """A photo as the model takes it: pixels, or the vision tower's features where they are known already."""

    grid_thw: LongTensor  # (3,) patches in time, height, width, before merging
    pixel_values: FloatTensor | None = None  # (patches, patch_dim)
    features: FloatTensor | None = None  # (1 + deepstack layers, tokens, hidden)


@dataclass
class Segment:
    """A prefix or a suffix as tokens; every image is already as many placeholders as it has tokens."""

    ids: LongTensor  # (length,)
    positions: LongTensor  # (length, 3) temporal, height, width
    images: list[Hashable]  # keys of the photos, in the order of their placeholders


@dataclass
class TokenizedQuery:
    prefix: Segment
    suffixes: list[Segment]  # one a candidate, in the query's order


@dataclass
class PackedRows:
    """Every query of a batch as one row: [prefix][suffix 1]...[suffix K], padded on the right.

    A token belongs to ``segment`` 0 (prefix), k (suffix k) or -1 (padding). ``last`` marks the last token of
    each suffix; in row-major order those are the candidates in the batch's order.
    """

    ids: LongTensor  # (queries, length)
    positions: LongTensor  # (3, queries, length)
    image_rows: LongTensor  # (queries, length)
    segment: LongTensor  # (queries, length)
    last: BoolTensor  # (queries, length)


@dataclass
class PackedBatch:
    """B queries with N candidates in all, P the longest prefix, S the longest suffix; padded on the right.

    ``*_image_rows`` say which row of the stacked image features stands at an image token; -1 at all others.
    """

    prefix_ids: LongTensor  # (B, P)
    prefix_mask: BoolTensor  # (B, P)
    prefix_positions: LongTensor  # (3, B, P)
    prefix_image_rows: LongTensor  # (B, P)
    suffix_ids: LongTensor  # (N, S)
    suffix_mask: BoolTensor  # (N, S)
    suffix_positions: LongTensor  # (3, N, S)
    suffix_image_rows: LongTensor  # (N, S)
    query_index: LongTensor  # (N,) the prefix a suffix belongs to, never decreasing
    image_grid_thw: LongTensor  # (images, 3), distinct photos
    pixel_values: FloatTensor | None  # (patches of all distinct photos, patch_dim)
    features: FloatTensor | None  # (1 + deepstack layers, tokens of all distinct photos, hidden)

    def to(self, device: torch.device | str, non_blocking: bool = False) -> "PackedBatch":
        return self._with(lambda tensor: tensor.to(device, non_blocking=non_blocking))

    def pin_memory(self) -> "PackedBatch":
        """Called by a data loader: from pinned memory a GPU copies while it computes."""
        return self._with(Tensor.pin_memory)

    def _with(self, change: Callable[[Tensor], Tensor]) -> "PackedBatch":
        return replace(self, **{name: change(tensor) for name, tensor in vars(self).items() if tensor is not None})

    @property
    def group_sizes(self) -> list[int]:
        """How many candidates each query has: (B,)."""
        return torch.bincount(self.query_index, minlength=len(self.prefix_ids)).tolist()

    def suffix_last(self) -> BoolTensor:
        """(N, S), true at the last real token of each suffix."""
        columns = torch.arange(self.suffix_ids.shape[1], device=self.suffix_ids.device)
        return columns == self.suffix_mask.sum(1, keepdim=True) - 1

    def suffixes_by_length(self) -> list[LongTensor]:
        """All candidates in one part, or the longer suffixes in one and the shorter in another.

        Of two parts, which take a call each, every one is padded to its own longest: suffixes without
        a photo are much shorter. A call costs about as much as some hundred tokens, so fewer are not worth it.
        """
        lengths, order = self.suffix_mask.sum(1).sort(descending=True, stable=True)
        behind = torch.arange(len(order), 0, -1, device=order.device)  # how many are at this place or behind it
        saved, cut = (behind * (lengths[0] - lengths)).max(0)
        return [order[:cut], order[cut:]] if saved >= CALL_TOKENS else [torch.arange(len(order), device=order.device)]

    def by_prefix_length(self) -> list[tuple[LongTensor, "PackedBatch"]]:
        """For each length of a prefix, which candidates (candidates,) have one, and the batch of those alone.

        No prefix has padding there. The photos are those of the whole batch.
        """
        lengths = self.prefix_mask.sum(1)
        parts = []
        for length in lengths.unique().tolist():
            queries = (lengths == length).nonzero().flatten()
            chosen = (lengths == length)[self.query_index].nonzero().flatten()
            part = replace(
                self,
                prefix_ids=self.prefix_ids[queries, :length],
                prefix_mask=self.prefix_mask[queries, :length],
                prefix_positions=self.prefix_positions[:, queries, :length],
                prefix_image_rows=self.prefix_image_rows[queries, :length],
                suffix_ids=self.suffix_ids[chosen],
                suffix_mask=self.suffix_mask[chosen],
                suffix_positions=self.suffix_positions[:, chosen],
                suffix_image_rows=self.suffix_image_rows[chosen],
                query_index=torch.searchsorted(queries, self.query_index[chosen]),
            )
            parts.append((chosen, part))
        return parts

    def rows(self) -> PackedRows:
        """The same tokens with each query and its candidates in one row."""
        sizes = self.group_sizes
        order = torch.cat([torch.arange(1, size + 1) for size in sizes]).to(self.query_index)  # (N,)

        def joined(prefix: Tensor, suffix: Tensor, padding: int = 0) -> Tensor:
            """(B, P, ...) and (N, S, ...) -> (B, length, ...)"""
            rows = [
                torch.cat([shared[shared_mask], own[own_mask]])
                for shared, shared_mask, own, own_mask in zip(
                    prefix,
                    self.prefix_mask,
                    suffix.split(sizes),
                    self.suffix_mask.split(sizes),
                    strict=True,
                )
            ]
            return pad_sequence(rows, batch_first=True, padding_value=padding)

        positions = joined(self.prefix_positions.movedim(0, -1), self.suffix_positions.movedim(0, -1))
        return PackedRows(
            ids=joined(self.prefix_ids, self.suffix_ids),
            positions=positions.movedim(-1, 0),
            image_rows=joined(self.prefix_image_rows, self.suffix_image_rows, padding=-1),
            segment=joined(torch.zeros_like(self.prefix_ids), order[:, None].expand_as(self.suffix_ids), padding=-1),
            last=joined(torch.zeros_like(self.prefix_mask), self.suffix_last()),
        )


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
