"""Which queries show a picture of the gallery, and which a picture that is there many times over."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from utils.auditing.hash_pass import hash_photos
from utils.auditing.near_duplicates import (
    Match,
    Photos,
    add_candidates,
    confirm,
    hash_candidates,
    probe_queries,
)
from utils.auditing.thresholds import LIKENESS, MANY
from utils.tables.leak_table import Leak


def picture_leaks(
    queries: Photos,
    gallery: Photos,
    folder: Path,
    workers: int = 0,
    *,
    many: int = MANY,
    least: float = LIKENESS,
    similar: Mapping[int, Sequence[int]] | None = None,
    cosine: Callable[[int, int], float] | None = None,
) -> tuple[list[Leak], list[str]]:
    """Placeholders and near-duplicates, in the order of the queries.

    Args:
        folder: where the hashes of the photos are kept, so that an interrupted audit goes on.
        many: queries that show one picture, from which it is a placeholder.
        least: likeness of the photos of one picture.
        similar: number of a query -> rows of gallery photos that are candidates beside those found by hash.
        cosine: of the embeddings of a query, by number, and a gallery photo, by row.

    Returns:
        The leaks, and a message for each photo of either side that could not be read.
    """
    hashes, unreadable = hash_photos(folder, gallery.image_ids, gallery.store, workers, "hashing the gallery")
    own, problems = hash_photos(folder, queries.image_ids, queries.store, workers, "hashing the queries")
    probes = probe_queries(queries, workers)  # without what the hash pass has named
    candidates = hash_candidates(probes, hashes)
    add_candidates(candidates, {number: rows for number, rows in (similar or {}).items() if number in probes})
    matches = confirm(queries, gallery, candidates, workers, least)
    copies = confirm(queries, queries, hash_candidates(probes, own, same=True), workers, least)
    sizes = group_sizes({number: [match.row for match in found] for number, found in copies.items()})
    leaks = []
    for number in sorted(matches.keys() | sizes.keys()):
        found = matches.get(number, [])
        leak = _leak(queries.image_ids[number], found, sizes.get(number, 1), many, gallery.image_ids)
        if leak is not None and found and cosine is not None:
            leak = replace(leak, cosine=cosine(number, found[0].row))
        if leak is not None:
            leaks.append(leak)
    return leaks, unreadable + problems


def group_sizes(copies: Mapping[int, Sequence[int]]) -> dict[int, int]:
    """Query -> how many queries show its picture: its ``copies``, their copies, and so on, and itself.

    Of a picture that hundreds show, each is compared with the nearest few alone, and two of the worst quality may not
    be alike though both are like a third.
    """
    links = [(number, copy) for number, found in copies.items() for copy in found]
    numbers, ends = np.unique(links, return_inverse=True)
    first, second = ends.reshape(-1, 2).T
    pairs = coo_array((np.ones(len(first)), (first, second)), shape=(len(numbers), len(numbers)))
    _, group = connected_components(pairs, directed=False)
    return dict(zip(numbers.tolist(), np.bincount(group)[group].tolist(), strict=True))


def _leak(image: str, found: Sequence[Match], same: int, many: int, gallery_ids: Sequence[str]) -> Leak | None:
    """What a query is whose picture ``same`` queries show, itself included, and which so matches the gallery."""
    best = found[0] if found else None
    about = {} if best is None else {"hash_bits": best.bits, "likeness": best.likeness}
    gallery_id = "" if best is None else gallery_ids[best.row]
    if same >= many:
        return Leak(image, "placeholder", gallery_id, same, **about)
    return None if best is None else Leak(image, "near_duplicate", gallery_id, len(found), **about)
