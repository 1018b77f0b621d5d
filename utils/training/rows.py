"""The rows that a training reads: which photos they show, and which rows can be used once the photos are known."""

import logging
import os
from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass, replace

from utils.candidates import PROMPT_COLUMNS
from utils.jobs.processes import Processes
from utils.tables.metadata import metadata_problems, read_metadata
from utils.training.georanking import GeoRankingRow, read_georanking
from utils.training.groups import EasyPool, GroupRule

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class RowFile:
    """Rows of a GeoRanking file or folder, and what is wrong with the others."""

    path: str
    rows: list[GeoRankingRow]
    problems: list[str]

    @classmethod
    def read(cls, path: str | os.PathLike, count: int | None = None) -> "RowFile":
        """The first ``count`` rows, all by default. Errors are those of ``read_georanking``."""
        rows, problems = read_georanking(path)
        return cls(str(path), rows[:count], problems)

    def usable(self, rule: GroupRule, photos: Container[str]) -> "RowFile":
        """The rows that a group can be drawn from (``usable_rows``); reported. Raises ValueError where none can."""
        rows, unusable = usable_rows(self.rows, rule, photos)
        problems = self.problems + unusable
        report(self.path, len(rows), problems)
        if not rows:
            raise ValueError(f"{self.path}: no usable row")
        return RowFile(self.path, rows, problems)


@dataclass(frozen=True)
class GalleryFile:
    """The photos of a gallery's metadata table that easy groups draw from."""

    path: str
    photos: EasyPool

    @classmethod
    def read(cls, path: str | os.PathLike) -> "GalleryFile":
        """The photos that have a coordinate; reported. Their texts are those that build_georanking.py writes."""
        metadata = read_metadata(path)
        problems = metadata_problems(path, metadata)
        metadata = metadata[metadata["LAT"].notna()]
        report(str(path), len(metadata), problems)
        return cls(str(path), EasyPool.from_metadata(metadata, PROMPT_COLUMNS))

    def usable(self, photos: Container[str]) -> "GalleryFile":
        """Those that are among ``photos``; reported."""
        found = self.photos.only(photos)
        kept = set(found.ids)
        report(self.path, len(found), [f"no photo {name}" for name in self.photos.ids if name not in kept])
        return replace(self, photos=found)


@dataclass(frozen=True)
class TrainingData:
    """What groups are made of: rows to train on and, where wanted, rows to evaluate on and a gallery."""

    training: RowFile
    validation: RowFile | None = None
    gallery: GalleryFile | None = None

    @classmethod
    def read(
        cls,
        training: str | os.PathLike,
        count: int | None = None,
        validation: str | os.PathLike | None = None,
        gallery: str | os.PathLike | None = None,
    ) -> "TrainingData":
        """From their files: the first ``count`` rows to train on, all by default, and all of the others."""
        return cls(
            RowFile.read(training, count),
            None if validation is None else RowFile.read(validation),
            None if gallery is None else GalleryFile.read(gallery),
        )

    def query_photos(self) -> list[str]:
        """The ids of all photos that are asked about, each once."""
        return list(dict.fromkeys(row.img_id for row in self._rows()))

    def candidate_photos(self, rule: GroupRule) -> list[str]:
        """The ids of all photos that groups can show of candidates, each once."""
        ids = dict.fromkeys(self.gallery.photos.ids if self.gallery else ())
        for row in self._rows():
            ids |= dict.fromkeys(_pool(row, rule))
        return list(ids)

    def _rows(self) -> list[GeoRankingRow]:
        return [*self.training.rows, *(self.validation.rows if self.validation else ())]

    def usable(self, rule: GroupRule, photos: Container[str]) -> "TrainingData":
        """What can be used of it where there are these ``photos``, ids; reported file by file.

        Raises ValueError, naming the file, where none of its rows can be used.
        """
        return TrainingData(
            self.training.usable(rule, photos),
            self.validation and self.validation.usable(rule, photos),
            self.gallery and self.gallery.usable(photos),
        )


def usable_rows(
    rows: Iterable[GeoRankingRow], rule: GroupRule, photos: Container[str]
) -> tuple[list[GeoRankingRow], list[str]]:
    """The rows a group can be drawn from, and what is wrong with each of the others.

    A row needs the query's photo, ``rule.pool`` candidates behind position 0, and their photos.
    """
    usable, problems = [], []
    for row in rows:
        needed = [row.img_id, *_pool(row, rule)]
        missing = [image for image in needed if image not in photos]
        if len(needed) <= rule.pool:
            problems.append(f"{row.img_id}: {len(row.ref_img_id)} references, {1 + rule.pool} needed")
        elif missing:
            problems.append(f"{row.img_id}: no photo {', '.join(missing)}")
        else:
            usable.append(row)
    return usable, problems


def report(name: str, usable: int, problems: Sequence[str], shown: int = 20) -> None:
    """Log how much of ``name`` can be used (INFO), and the first ``shown`` problems of the rest (WARNING).

    Every process of a training finds the same: only the first one speaks.
    """
    if Processes.from_environment().rank:
        return
    logger.info("%s: %s usable, %s problems", name, f"{usable:,}", f"{len(problems):,}")
    for problem in problems[:shown]:
        logger.warning("  %s", problem)
    if len(problems) > shown:
        logger.warning("  ... and %s more", f"{len(problems) - shown:,}")


def _pool(row: GeoRankingRow, rule: GroupRule) -> list[str]:
    """The ids of the candidates' photos that groups of ``row`` can show."""
    return row.ref_img_id[1 : 1 + rule.pool]
