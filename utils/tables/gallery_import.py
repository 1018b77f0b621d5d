"""A gallery out of a foreign data set: its metadata table and the ledger beside it."""

import csv
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import astuple, dataclass, field
from pathlib import Path

import numpy as np

from utils.geography.gazetteer import TEXT_COLUMNS
from utils.jobs.files import atomic_path, remove_unfinished
from utils.jobs.locks import making
from utils.photos.store import ImageStore
from utils.tables.gallery_selection import Choice, Chooser, Selection
from utils.tables.imported_photo import ImportedPhoto
from utils.tables.ledger import COLUMNS, ledger_path
from utils.tables.metadata import REQUIRED

HEADER = (*REQUIRED, *TEXT_COLUMNS)
ARCHIVES = (".tar", ".zip")
Read = Callable[[], Iterable[ImportedPhoto | ValueError]]
NAMED = 20  # bad rows of which it is said what is wrong; a damaged table may have millions


@dataclass
class Imported:
    """What became of the rows of a data set."""

    rows: int = 0
    photos: int = 0  # that are in the gallery
    left_out: dict[str, int] = field(default_factory=dict)  # why -> how many
    problems: list[str] = field(default_factory=list)  # of the first bad rows, and how many more there are
    bad: int = 0

    def add_problem(self, problem: str) -> None:
        self.bad += 1
        if self.bad <= NAMED:
            self.problems.append(problem)


def check_table(table: Path) -> None:
    """Raise ``ValueError`` where ``import_gallery`` would not write ``table`` anew, but lose something else for it."""
    if table.suffix.lower() in ARCHIVES:
        raise ValueError(f"table: {table} is the name of an archive: name the table to write last, a CSV file")
    ledger = ledger_path(table)
    for path, header, whole in ((table, HEADER, ledger.exists()), (ledger, COLUMNS, True)):
        if path.exists() and not (whole and _header(path) == ",".join(header)):
            raise ValueError(f"table: {path} exists, and this command did not write it: name another, or remove it")


def _header(path: Path) -> str:
    with open(path, "rb") as file:
        return file.readline(1000).decode(errors="replace").rstrip("\n")


def import_gallery(read: Read, table: Path, selection: Selection, store: ImageStore | None = None) -> Imported:
    """Write the metadata table ``table`` and its ledger; the rows keep the order of the data set.

    The data set is read twice, as a stream, so that memory goes for the choice alone. The metadata table is written
    last: who sees it sees its ledger.

    Args:
        read: reads the data set from its beginning, each time the same.
        table: CSV file to write.
        selection: which photos.
        store: where the photos lie; those that are not there are left out. None: not asked.

    Raises:
        ValueError: where no photo is left, saying why, or none names the sequence by which it is to be chosen.
    """
    done, choice = _choose(read, selection, store)
    if not len(choice.chosen):
        reasons = [f"{why}: {count:,}" for why, count in done.left_out.items() if count]
        if selection.box is not None:
            reasons.append(f"the box is {selection.box}")
        none_left = f"no photo of {done.rows:,} rows is left"
        raise ValueError("\n".join(["; ".join([none_left, *reasons]), *done.problems]))
    # A byte a photo; sets of millions would take more than the choice did.
    is_chosen, is_again = (_mask(done.rows, numbers) for numbers in (choice.chosen, choice.again))
    with making(table), ExitStack() as stack:
        for path in (table, ledger_path(table)):
            remove_unfinished(path.parent, path.name)
        paths = [stack.enter_context(atomic_path(path)) for path in (table, ledger_path(table))]
        files = [stack.enter_context(open(path, "w", encoding="utf-8", newline="")) for path in paths]
        metadata, ledger = (csv.writer(file, lineterminator="\n") for file in files)
        metadata.writerow(HEADER)
        ledger.writerow(COLUMNS)
        for number, photo in enumerate(_photos(read())):
            if is_again[number]:
                done.add_problem(f"{photo.where}: a photo of this id was there before; left out")
            elif is_chosen[number]:
                metadata.writerow([photo.image_id, photo.latitude, photo.longitude, *photo.texts])
                ledger.writerow([photo.image_id, *astuple(photo.credit)])
                done.photos += 1
    if done.bad > NAMED:
        done.problems.append(f"{done.bad - NAMED:,} more rows cannot be used")
    return done


def _mask(length: int, numbers: np.ndarray) -> np.ndarray:
    mask = np.zeros(length, dtype=bool)
    mask[numbers] = True
    return mask


def _photos(items: Iterable[ImportedPhoto | ValueError]) -> Iterator[ImportedPhoto]:
    return (item for item in items if isinstance(item, ImportedPhoto))


def _choose(read: Read, selection: Selection, store: ImageStore | None) -> tuple[Imported, Choice]:
    """The first reading."""
    done, chooser = Imported(), Chooser(selection)
    number = outside = absent = sequences = 0
    for item in read():
        done.rows += 1
        if isinstance(item, ValueError):
            done.add_problem(str(item))
            continue
        sequences += bool(item.sequence)
        if selection.box is not None and (item.latitude, item.longitude) not in selection.box:
            outside += 1
        elif store is not None and not any(source.find(item.image_id) for source in store.sources):
            absent += 1
        else:
            chooser.add(number, item)
        number += 1
    if selection.one_per_sequence and not sequences:
        raise ValueError("no photo names its sequence: leave --one_per_sequence out")
    choice = chooser.choose()
    done.left_out = {
        "outside of the box": outside,
        "no photo there": absent,
        "of a sequence that has one": choice.of_one_sequence,
        "of a cell that is full": choice.beyond_cells,
        "not usable": done.bad + len(choice.again),
    }
    return done, choice
