"""Training groups with their photos, and batches of them.

One item is one group (``utils/groups.py``): a query with its candidates and its encoded photos. Everything
about an item follows from the seed, the epoch and the item's number, so that workers, processes and
interruptions change nothing. That holds for photos that cannot be decoded too: which are met is noted in the
item, not in the worker that met them.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from utils.candidates import Query
from utils.geo_ranker import GeoRanker
from utils.georanking import GeoRankingRow
from utils.groups import Gallery, GroupRule, distances_km, draw_group, evaluation_group
from utils.images import ImageError, ImageStore
from utils.packing import EncodedImage, PackedBatch, Packer

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


class EncodedPhotos:
    """Photos of a store by id, decoded and cut into patches when asked for.

    Raises ``ImageError``, naming the photo, for one that cannot be decoded or that the model cannot take.
    """

    def __init__(self, store: ImageStore, packer: Packer) -> None:
        self.store = store
        self.packer = packer

    def __getitem__(self, image_id: str) -> EncodedImage:
        image = self.store.open(image_id)
        try:
            return self.packer.encode(image)
        except ValueError as error:
            raise ImageError(f"{image_id}: {error}") from error


def cache_features(
    ranker: GeoRanker, store: ImageStore, ids: Sequence[str], workers: int = 0, batch_size: int = 64
) -> tuple[dict[str, EncodedImage], list[str]]:
    """Photos as features of the frozen vision tower, by id, and what is wrong with those left out.

    All stay in memory, in the tower's precision: meant for small photos. ``workers`` processes decode.
    """
    loader = DataLoader(
        _Decoded(store, ranker.packer, ids),
        batch_size,
        num_workers=workers,
        collate_fn=list,
        pin_memory=False,
    )
    photos, problems = {}, []
    with tqdm(total=len(ids), desc="encoding photos", unit="photo", disable=None) as progress:
        for batch in loader:
            decoded = {image_id: photo for image_id, photo in batch if isinstance(photo, EncodedImage)}
            problems += [problem for _, problem in batch if isinstance(problem, str)]
            if decoded:
                read = ranker.with_features(list(decoded.values()))
                # What a worker sent lies in shared memory, a file handle a tensor: to keep it is to run out of them.
                photos |= {
                    image_id: EncodedImage(photo.grid_thw.clone(), features=photo.features.cpu())
                    for image_id, photo in zip(decoded, read, strict=True)
                }
            progress.update(len(batch))
    return photos, problems


class _Decoded(Dataset):
    """(id, encoded photo, or what is wrong with it)"""

    def __init__(self, store: ImageStore, packer: Packer, ids: Sequence[str]) -> None:
        self.photos = EncodedPhotos(store, packer)
        self.ids = ids

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, index: int) -> tuple[str, EncodedImage | str]:
        try:
            return self.ids[index], self.photos[self.ids[index]]
        except ImageError as error:
            return self.ids[index], str(error)


def show(query: Query, photos: Mapping[str, EncodedImage] | EncodedPhotos) -> Group:
    """``query`` with its photos. A candidate whose photo cannot be decoded is left out.

    Where the query's own photo cannot be decoded, or fewer than two candidates remain, there is nothing to rank:
    the group has no candidates.
    """
    shown, candidates, left_out = {}, [], []
    try:
        shown[query.image] = photos[query.image]
        for candidate in query.candidates:
            try:
                if candidate.image is not None:
                    shown[candidate.image] = photos[candidate.image]
                candidates.append(candidate)
            except ImageError as error:
                message = f"{query.image}: candidate left out: {error}"
                left_out.append(LeftOut(candidate.image, False, message))
        if len(candidates) < 2:
            candidates = []
            left_out.append(LeftOut(None, True, f"{query.image}: row left out: fewer than two candidates remain"))
    except ImageError as error:
        left_out.append(LeftOut(query.image, True, f"{query.image}: row left out: {error}"))
    query = Query(query.image, tuple(candidates), query.negatives, query.latitude, query.longitude)
    distances = torch.from_numpy(distances_km(query)).float() if candidates else torch.empty(0)
    return Group(query, distances, shown, tuple(left_out))


class Groups(Dataset):
    """The groups that ``draw(number)`` makes of so many rows, each with its photos.

    Where a row turns out to have no usable photo the next one takes its place, so that every process still
    gets its share. Raises ValueError when no row is usable.
    """

    def __init__(
        self, count: int, draw: Callable[[int], Query], photos: Mapping[str, EncodedImage] | EncodedPhotos
    ) -> None:
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
        photos: Mapping[str, EncodedImage] | EncodedPhotos,
        *,
        batch_size: int,
        steps: int,
        seed: int,
        gallery: Gallery | None = None,
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
    """The evaluation group of every row, in the order of the file."""

    def __init__(
        self,
        rows: Sequence[GeoRankingRow],
        rule: GroupRule,
        photos: Mapping[str, EncodedImage] | EncodedPhotos,
    ) -> None:
        super().__init__(len(rows), self._draw, photos)
        self.rows = rows
        self.rule = rule

    def _draw(self, number: int) -> Query:
        return evaluation_group(self.rows[number], self.rule)


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
