"""Queries that share a key, an id or an owner, with photos of the gallery."""

from collections.abc import Sequence

import numpy as np

from utils.retrieval.exclusions import Exclusion
from utils.tables.leak_table import Leak


def shared_leaks(exclusion: Exclusion, reason: str, query_ids: Sequence[str], gallery_ids: Sequence[str]) -> list[Leak]:
    """A leak for each query whose key ``exclusion`` finds in the gallery, in the order of the queries."""
    order = np.argsort(exclusion.gallery, kind="stable")
    keys = exclusion.gallery[order]
    first = np.searchsorted(keys, exclusion.queries, "left")
    counts = np.searchsorted(keys, exclusion.queries, "right") - first
    return [
        Leak(query_ids[number], reason, gallery_ids[order[first[number]]], int(counts[number]))
        for number in np.flatnonzero((exclusion.queries >= 0) & (counts > 0))
    ]
