"""Training groups with their photos, and batches of them.

One item is one group (``utils/training/groups.py``): a query with its candidates and its encoded photos. Everything
about an item follows from the seed, the epoch and the item's number, so that workers, processes and
interruptions change nothing. That holds for photos that cannot be decoded too: which are met is noted in the
item, not in the worker that met them.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import Dataset

from utils.candidates import Query, distances_km
from utils.model.batch import EncodedImage, PackedBatch
from utils.model.packing import Packer
from utils.model.readable import readable
from utils.training.georanking import GeoRankingRow
from utils.training.groups import EasyPool, GroupRule, draw_group, evaluation_group
from utils.training.photos import GroupPhotos
from utils.training.rows import TrainingData

PADDING = -1.0  # stands for "no candidate" in a row of distances; no distance is negative


class LeftOut(NamedTuple):
    """What a photo that cannot be decoded costs: a candidate, or a whole row."""

    photo: str | None  # its id; None for a row of which such candidates left fewer than two
    is_row: bool
    message: str


@dataclass(frozen=True)
class Group:
    """One item: a query, how far its candidates are from the truth, and the photos it shows, by their ids."""

    query: Query
    distances: torch.Tensor  # (candidates,) float32 km
    photos: Mapping[str, EncodedImage]
    left_out: tuple[LeftOut, ...] = ()  # on the way to this group


def show(query: Query, photos: GroupPhotos) -> Group:
    """``query`` with its photos. A candidate whose photo cannot be decoded is left out.

    Where the query's own photo cannot be decoded, or fewer than two candidates remain, there is nothing to rank:
    the group has no candidates. Where ``photos`` shows it otherwise than candidates', it has a name of its own: one
    batch may hold a photo in both forms.
    """
    alike = photos.queries is photos.candidates
    named = query if alike else replace(query, image=f"query photo {query.image}")
    shown, encoded, unreadable = readable(named, photos.candidates.__getitem__, lambda _: photos.queries[query.image])
    left_out = []
    for number, error in unreadable:
        photo = query.image if number is None else query.candidates[number].image
        lost = "row" if number is None else "candidate"
        left_out.append(LeftOut(photo, number is None, f"{query.image}: {lost} left out: {error}"))
    if len(shown.candidates) < 2 and not any(problem.is_row for problem in left_out):
        left_out.append(LeftOut(None, True, f"{query.image}: row left out: fewer than two candidates remain"))
        shown = replace(shown, candidates=())
    distances = torch.from_numpy(distances_km(shown)).float() if shown.candidates else torch.empty(0)
    return Group(shown, distances, encoded, tuple(left_out))


class Groups(Dataset):
    """The groups that ``draw(number)`` makes of so many rows, each with its photos.

    Where a row turns out to have no usable photo the next one takes its place, so that every process still
    gets its share. Raises ValueError when no row is usable.
    """

    def __init__(self, count: int, draw: Callable[[int], Query], photos: GroupPhotos) -> None:
        self.count = count
        self.draw = draw
        self.photos = photos

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Group:
        left_out = ()
        for number in range(index, index + self.count):
            group = show(self.draw(number % self.count), self.photos)
            left_out += group.left_out
            if group.query.candidates:
                return replace(group, left_out=left_out)
        raise ValueError(f"none of the {self.count} rows has usable photos")


class TrainingGroups(Groups):
    """A new group of every row in each epoch, the rows in a new order (to be read in sequence).

    Item ``i`` of an epoch is a function of (seed, epoch, i): of the order of the rows in that epoch, and of a
    generator of its own. Every step is whole: rows behind the last full ``batch_size`` of an epoch's order
    are not shown in it. ``steps`` is how long the whole training is, for the schedule of the rule.
    """

    def __init__(
        self,
        rows: Sequence[GeoRankingRow],
        rule: GroupRule,
        photos: GroupPhotos,
        *,
        batch_size: int,
        steps: int,
        seed: int,
        gallery: EasyPool | None = None,
    ) -> None:
        super().__init__(len(rows) - len(rows) % batch_size, self._draw, photos)
        self.rows = rows
        self.rule = rule
        self.gallery = gallery
        self.total = steps * batch_size
        self.seed = seed
        self.set_epoch(0)

    def set_epoch(self, epoch: int) -> None:
        """Called by the data loader before each pass."""
        self.epoch = epoch
        self.order = np.random.default_rng((self.seed, epoch)).permutation(len(self.rows))

    def _draw(self, number: int) -> Query:
        progress = min(1.0, (self.epoch * self.count + number) / self.total)
        generator = np.random.default_rng((self.seed, self.epoch, number))
        return draw_group(self.rows[self.order[number]], self.rule, generator, progress, self.gallery)


class EvaluationGroups(Groups):
    """The evaluation group of every row, in the order of the file.

    What takes the place of an unusable row keeps the batch whole, but has no distances, so that it does not count.
    """

    def __init__(
        self,
        rows: Sequence[GeoRankingRow],
        rule: GroupRule,
        photos: GroupPhotos,
    ) -> None:
        super().__init__(len(rows), self._draw, photos)
        self.rows = rows
        self.rule = rule

    def __getitem__(self, index: int) -> Group:
        group = super().__getitem__(index)
        if any(left_out.is_row for left_out in group.left_out):
            return replace(group, distances=torch.full_like(group.distances, PADDING))
        return group

    def _draw(self, number: int) -> Query:
        return evaluation_group(self.rows[number], self.rule)


def groups_of(
    data: TrainingData,
    rule: GroupRule,
    photos: GroupPhotos,
    *,
    batch_size: int,
    epochs: float,
    max_steps: int,
    seed: int,
) -> tuple[TrainingGroups, EvaluationGroups | None]:
    """The groups to train on and, where ``data`` has rows for it, those to evaluate on.

    The training is ``epochs`` long, or ``max_steps`` where that is positive; a step takes ``batch_size`` groups.
    Raises ValueError, naming the file, where the rows to train on are fewer.
    """
    rows = data.training.rows
    if len(rows) < batch_size:
        raise ValueError(f"{data.training.path}: {len(rows)} usable rows are less than total_batch_size")
    training = TrainingGroups(
        rows,
        rule,
        photos,
        batch_size=batch_size,
        steps=max_steps if max_steps > 0 else math.ceil(epochs * (len(rows) // batch_size)),
        seed=seed,
        gallery=data.gallery and data.gallery.photos,
    )
    return training, EvaluationGroups(data.validation.rows, rule, photos) if data.validation else None


class GroupCollator:
    """Groups as one batch.

    ``packed``, ``distances`` (B, largest group) km with PADDING at the end, and ``left_out``, a list of LeftOut.
    """

    def __init__(self, packer: Packer) -> None:
        self.packer = packer

    def __call__(self, groups: Sequence[Group]) -> dict[str, PackedBatch | torch.Tensor | list[LeftOut]]:
        photos = {image_id: photo for group in groups for image_id, photo in group.photos.items()}
        return {
            "packed": self.packer.pack([group.query for group in groups], photos),
            "distances": pad_sequence([group.distances for group in groups], True, PADDING),
            "left_out": [left_out for group in groups for left_out in group.left_out],
        }
