"""Near-duplicates: candidates by hash and by embedding, each confirmed by laying the photos over each other."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from torch.utils.data import DataLoader, Dataset

from utils.auditing.alignment import Start, likeness, small
from utils.auditing.buckets import Buckets
from utils.auditing.hash_pass import Hashes
from utils.auditing.hashes import CROPS, query_hashes
from utils.auditing.thresholds import LIKENESS
from utils.jobs.progress import progress_bar
from utils.photos.images import ImageError
from utils.photos.store import ImageStore

MOST = 32  # candidates that are looked at, of each query


@dataclass(frozen=True)
class Photos:
    """Photos by row."""

    image_ids: Sequence[str]
    store: ImageStore


@dataclass
class Candidate:
    """A gallery photo that may show the query's picture."""

    row: int
    bits: int | None = None  # in which the hashes differ; None: found by its embedding alone
    starts: list[Start] = field(default_factory=list)


@dataclass(frozen=True)
class Match:
    """A gallery photo that shows the query's picture."""

    row: int
    bits: int | None
    likeness: float


class _Probes(Dataset):
    """Number and ``query_hashes`` of each query; None where its photo cannot be read."""

    def __init__(self, queries: Photos) -> None:
        self.queries = queries

    def __len__(self) -> int:
        return len(self.queries.image_ids)

    def __getitem__(self, number: int) -> tuple[int, np.ndarray | None]:
        try:
            return number, query_hashes(self.queries.store.open(self.queries.image_ids[number]))
        except ImageError:
            return number, None


def probe_queries(queries: Photos, workers: int = 0) -> dict[int, np.ndarray]:
    """Number of a query -> its ``query_hashes``, of those whose photo can be read."""
    probes = {}
    loader = DataLoader(_Probes(queries), batch_size=8, num_workers=workers, collate_fn=list)
    with progress_bar(total=len(queries.image_ids), desc="windows of the queries", unit="photo") as bar:
        for batch in loader:
            probes |= {number: hashes for number, hashes in batch if hashes is not None}
            bar.update(len(batch))
    return probes


def hash_candidates(
    probes: Mapping[int, np.ndarray], gallery: Hashes, most: int = MOST, *, same: bool = False
) -> dict[int, list[Candidate]]:
    """Number of a query -> the gallery photos whose hashes are nearest to it, at most ``most``.

    ``same``: the gallery is the queries themselves; none finds itself.
    """
    rows = np.flatnonzero(gallery.readable)
    kinds = [Buckets(gallery.codes[rows, kind]) for kind in range(2)]
    found: dict[int, list[Candidate]] = {}
    for number, hashes in progress_bar(probes.items(), desc="comparing hashes", unit="query"):
        candidates: dict[int, Candidate] = {}
        for kind, buckets in enumerate(kinds):
            asked, known, bits = buckets.search(hashes[kind])
            # Of each known hash the window that is nearest to it, and the nearest of these first.
            order = np.lexsort((asked, bits, known))
            first = order[np.unique(known[order], return_index=True)[1]]
            for place in first[np.argsort(bits[first], kind="stable")][: most + 1]:
                start = Start(CROPS[asked[place]], of_query=kind == 1)
                for row in rows[buckets.rows(known[place], most + 1)].tolist():
                    if not (same and row == number):
                        _note(candidates, row, int(bits[place]), start)
        found[number] = sorted(candidates.values(), key=lambda candidate: candidate.bits)[:most]
    return found


def _note(candidates: dict[int, Candidate], row: int, bits: int, start: Start) -> None:
    candidate = candidates.setdefault(row, Candidate(row, bits))
    candidate.bits = min(candidate.bits, bits)
    candidate.starts.append(start)


def add_candidates(candidates: dict[int, list[Candidate]], found: Mapping[int, Sequence[int]]) -> None:
    """Let ``candidates`` have the gallery rows ``found`` by embedding, too, of the queries that are in both."""
    for number, rows in found.items():
        known = {candidate.row for candidate in candidates.get(number, [])}
        more = [Candidate(row, None, [Start(), Start(of_query=True)]) for row in rows if row not in known]
        candidates.setdefault(number, []).extend(more)


class _Comparisons(Dataset):
    """The matches of each query, as a number and a list; what cannot be read is no match."""

    def __init__(self, queries: Photos, gallery: Photos, candidates: Mapping[int, Sequence[Candidate]]) -> None:
        self.queries, self.gallery = queries, gallery
        self.work = [(number, found) for number, found in candidates.items() if found]

    def __len__(self) -> int:
        return len(self.work)

    def __getitem__(self, place: int) -> tuple[int, list[Match]]:
        number, candidates = self.work[place]
        query = small(self.queries.store.open(self.queries.image_ids[number]))
        matches = []
        for candidate in candidates:
            try:
                photo = small(self.gallery.store.open(self.gallery.image_ids[candidate.row]))
            except ImageError:  # named when the gallery was hashed
                continue
            value = likeness(query, photo, candidate.starts)
            matches.append(Match(candidate.row, candidate.bits, value))
        return number, matches


def confirm(
    queries: Photos,
    gallery: Photos,
    candidates: Mapping[int, Sequence[Candidate]],
    workers: int = 0,
    least: float = LIKENESS,
) -> dict[int, list[Match]]:
    """Number of a query -> its matches, those of a likeness of at least ``least``, the most alike first."""
    work = _Comparisons(queries, gallery, candidates)
    matches = {}
    loader = DataLoader(work, batch_size=8, num_workers=workers, collate_fn=list)
    with progress_bar(total=len(work), desc="comparing photos", unit="query") as bar:
        for batch in loader:
            for number, found in batch:
                alike = sorted((match for match in found if match.likeness >= least), key=lambda match: -match.likeness)
                if alike:
                    matches[number] = alike
            bar.update(len(batch))
    return matches
