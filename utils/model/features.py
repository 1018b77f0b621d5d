"""Features of photos on disk, for a vision tower that stays frozen: a photo is decoded and encoded once.

A training sees every photo in every epoch, and runs on the same data see them again. The cache is a folder with
one folder per vision tower (its weights, precision and the size limits of photos). Any number of processes may
read and extend it: each appends to a pair of files of its own,

    NAME.bin     features, one photo after the other
    NAME.jsonl   {"photo": where it lies, "stamp": [bytes, time], "grid": [t, h, w],
                  "shape": [levels, tokens, hidden], "offset": bytes}

and writes the line when the features are there; that of a photo re-encoded as JPEG has ``"jpeg"``, the quality, too.
Photos are known by their place, size and time (of an archive: its time): one that was replaced is encoded anew. A
photo may be there in several forms: as a query shows it, and re-encoded as a candidate does.
"""

import logging
import os
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch.utils.data import DataLoader, IterableDataset
from transformers import PreTrainedModel

from utils.jobs.json_lines import JsonLines, read_json_lines
from utils.jobs.processes import Processes, SharedWork
from utils.jobs.progress import progress_bar
from utils.model.batch import EncodedImage
from utils.model.halving import in_halves
from utils.model.packing import Packer
from utils.model.tower import tower_fingerprint, with_features
from utils.photos.images import ImageError
from utils.photos.jpeg import as_jpeg
from utils.photos.stamp import Stamp
from utils.photos.store import ImageStore

logger = logging.getLogger(__name__)


class EncodedPhotos:
    """Photos of a store by id, decoded and cut into patches when asked for.

    With a ``jpeg_quality`` they are re-encoded in between (``utils/photos/jpeg.py``). Raises ``ImageError``, naming
    the photo, for one that cannot be decoded or re-encoded or that the model cannot take.
    """

    def __init__(self, store: ImageStore, packer: Packer, jpeg_quality: int | None = None) -> None:
        self.store = store
        self.packer = packer
        self.jpeg_quality = jpeg_quality

    def __contains__(self, image_id: str) -> bool:
        """Whether there is such a photo, readable or not."""
        return image_id in self.store

    def __getitem__(self, image_id: str) -> EncodedImage:
        image = self.store.open(image_id)
        try:
            return self.packer.encode(as_jpeg(image, self.jpeg_quality))
        except ValueError as error:
            raise ImageError(f"{image_id}: {error}") from error


@dataclass(frozen=True)
class _Entry:
    path: Path
    offset: int  # bytes
    grid: tuple[int, int, int]
    shape: tuple[int, int, int]  # (1 + deepstack layers, tokens, hidden)


class FeatureCache:
    """The photos of ``store`` with features in place of pixels, by id, as far as they are in ``folder``.

    They are those of the photos as ``EncodedPhotos`` has them at the same ``jpeg_quality``. Raises ``ImageError``,
    naming the photo, for one that is not there.
    """

    def __init__(
        self,
        folder: str | os.PathLike,
        backbone: PreTrainedModel,
        packer: Packer,
        store: ImageStore,
        jpeg_quality: int | None = None,
    ) -> None:
        self.folder = Path(folder) / tower_fingerprint(backbone, packer)[:16]
        self.decoded = EncodedPhotos(store, packer, jpeg_quality)
        self.dtype = backbone.visual.dtype
        self.folder.mkdir(parents=True, exist_ok=True)
        self.name = uuid.uuid4().hex
        self.entries: dict[tuple[str, Stamp], _Entry] = {}  # by place and stamp of the photo
        self.read()

    def read(self) -> None:
        """Learn of everything that is in the folder by now."""
        for path in sorted(self.folder.glob("*.jsonl")):
            for _, entry in read_json_lines(path):
                if entry.get("jpeg") != self.decoded.jpeg_quality:
                    continue
                if "stamp" in entry:  # an earlier version did not say of which photo the features are
                    self.entries[entry["photo"], Stamp(*entry["stamp"])] = _Entry(
                        path.with_suffix(".bin"), entry["offset"], tuple(entry["grid"]), tuple(entry["shape"])
                    )

    def _entry(self, image_id: str) -> _Entry | None:
        """That of a photo as it is now."""
        store = self.decoded.store
        return self.entries.get((store.place(image_id), store.stamp(image_id)))

    def __contains__(self, image_id: object) -> bool:
        return self._entry(image_id) is not None

    def __getitem__(self, image_id: str) -> EncodedImage:
        entry = self._entry(image_id)
        if entry is None:
            _ = self.decoded[image_id]  # says what is wrong with the photo
            raise ImageError(f"{image_id}: not in the feature cache {self.folder}")
        levels, tokens, hidden = entry.shape
        data = bytearray(levels * tokens * hidden * self.dtype.itemsize)
        with open(entry.path, "rb") as file:
            file.seek(entry.offset)
            if file.readinto(data) < len(data):
                raise ImageError(f"{image_id}: {entry.path} ends before its features: remove the folder {self.folder}")
        features = torch.frombuffer(data, dtype=self.dtype).view(entry.shape)
        return EncodedImage(torch.tensor(entry.grid), features=features)

    def problem(self, image_id: str) -> str | None:
        """What is wrong with a photo that is not there; None for one that is."""
        if image_id in self:
            return None
        try:
            self[image_id]
        except ImageError as error:
            return str(error)

    def add(self, photos: Iterable[tuple[str, EncodedImage]]) -> None:
        """Append the features of photos, given with their ids."""
        # Open for these alone: a cache that only reads leaves no files, and no data worker inherits them.
        with open(self.folder / f"{self.name}.bin", "ab") as file, JsonLines(self.folder / f"{self.name}.jsonl") as log:
            for image_id, photo in photos:
                features = photo.features.to("cpu", self.dtype).contiguous()
                offset = file.tell()
                file.write(features.view(torch.uint8).numpy())
                file.flush()
                place = self.decoded.store.place(image_id)
                stamp = self.decoded.store.stamp(image_id)
                entry = _Entry(Path(file.name), offset, tuple(photo.grid_thw.tolist()), tuple(features.shape))
                line = {"photo": place, "stamp": stamp, "grid": entry.grid, "shape": entry.shape, "offset": offset}
                log.add(line if self.decoded.jpeg_quality is None else line | {"jpeg": self.decoded.jpeg_quality})
                self.entries[place, stamp] = entry

    def fill(self, backbone: PreTrainedModel, work: SharedWork[str], workers: int = 0) -> list[str]:
        """Add those photos of ``work`` that are missing; returns what is wrong with those that cannot be read.

        ``workers`` processes decode.
        """
        # Each photo travels between processes as two open files, of which there are few: batches are small.
        photos = DataLoader(_Missing(self, work), 16, num_workers=workers, collate_fn=list, in_order=False)
        problems = []
        with progress_bar(total=len(work.items), desc="encoding photos", unit="photo") as bar:
            for batch in photos:
                decoded = {image_id: photo for image_id, photo in batch if isinstance(photo, EncodedImage)}
                problems += [problem for _, problem in batch if isinstance(problem, str)]
                if decoded:
                    problems += self._encode(backbone, decoded)
                bar.update(work.finish(len(batch)) - bar.n)
        return problems

    def _encode(self, backbone: PreTrainedModel, decoded: dict[str, EncodedImage]) -> list[str]:
        """Add photos, halving what does not fit into memory; returns what does not fit even alone."""
        photos, problems = list(decoded.items()), []

        def features_of(start: int, stop: int) -> list[EncodedImage]:
            return with_features(backbone, self.decoded.packer, [photo for _, photo in photos[start:stop]])

        for start, stop, found in in_halves(features_of, 0, len(photos), "photos"):
            if found is None:
                problems.append(f"{photos[start][0]}: even alone it does not fit into memory")
                continue
            self.add(zip([image_id for image_id, _ in photos[start:stop]], found, strict=True))
        return problems

    def size(self) -> int:
        """Bytes on disk of this tower's features."""
        return sum(path.stat().st_size for kind in ("*.bin", "*.jsonl") for path in self.folder.glob(kind))


def shared_features(
    folder: str | os.PathLike,
    backbone: PreTrainedModel,
    packer: Packer,
    store: ImageStore,
    ids: Iterable[str],
    processes: Processes,
    workers: int,
    name: str,
    jpeg_quality: int | None = None,
) -> tuple[FeatureCache, list[str]]:
    """The cache in ``folder`` with the photos ``ids``, the missing ones added by all ``processes`` together.

    Returns also what is wrong with the photos that are unreadable. ``name`` says what kind of photos they are.
    """
    cache = FeatureCache(folder, backbone, packer, store, jpeg_quality)
    work = SharedWork(list(dict.fromkeys(ids)), processes, name)
    problems = cache.fill(backbone, work, workers)
    processes.wait(name)
    cache.read()
    if processes.count > 1:  # the others found their share
        problems = [problem for image_id in work.items if (problem := cache.problem(image_id)) is not None]
    logger.info(f"{cache.folder}: features of {len(cache.entries):,} photos, {cache.size() / 1e6:,.1f} MB")
    return cache, problems


class _Missing(IterableDataset):
    """(id, decoded photo), (id, what is wrong with it), or (id, None) for one that the cache has."""

    def __init__(self, cache: FeatureCache, work: SharedWork[str]) -> None:
        self.cache = cache
        self.work = work

    def __iter__(self) -> Iterator[tuple[str, EncodedImage | str | None]]:
        for image_id in self.work:
            try:
                yield image_id, None if image_id in self.cache else self.cache.decoded[image_id]
            except ImageError as error:
                yield image_id, str(error)
