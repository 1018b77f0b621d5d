"""Which index a gallery gets, and what it costs to search it by that one."""

from typing import Literal

import numpy as np

from utils.retrieval.compressed_index import SHORTLIST, CompressedIndex, check_compressible
from utils.retrieval.exact_index import ExactIndex
from utils.retrieval.gallery import IndexType


def choose_index_type(wanted: Literal["auto"] | IndexType, photos: int, length: int, exact_gib: float) -> IndexType:
    """What "auto" means: exact as long as the codes of all photos, ``length`` float32 each, fit into ``exact_gib``."""
    if wanted != "auto":
        return wanted
    return "exact" if 4 * length * photos <= exact_gib * 2**30 else "ivfpq"


def check_index(
    index_type: IndexType, photos: int, dimension: int, *, components: int = 0, code_bytes: int = 64
) -> None:
    """Raise ``ValueError``, naming the flag, where embeddings (photos, dimension) allow no such index."""
    if index_type == "exact":
        if components > min(photos, dimension):
            raise ValueError(
                f"--components {components}: at most {min(photos, dimension)}, since there are {photos:,} photos with "
                f"embeddings of length {dimension}; 0 keeps them whole"
            )
        return
    if components:
        raise ValueError("--components is for the exact index: ivfpq chooses its own")
    check_compressible(photos, dimension, code_bytes)


def build_index(
    embeddings: np.ndarray,
    usable: np.ndarray,
    index_type: IndexType,
    *,
    components: int = 0,
    code_bytes: int = 64,
    reverse: bool = False,
) -> tuple[ExactIndex | CompressedIndex, str]:
    """An index of the photos (n,) that are ``usable`` by their ``embeddings`` (n, d), and what it trades for its size.

    ``components`` are kept of an exact index (0: all), ``code_bytes`` of a compressed one, which is measured for the
    search of the least similar photos only where that is to be possible (``reverse``). Raises ``ValueError`` as
    ``check_index`` does, and where too many of the usable photos have no embedding.
    """
    check_index(index_type, int(usable.sum()), embeddings.shape[1], components=components, code_bytes=code_bytes)
    if index_type == "exact":
        return ExactIndex.build(embeddings, components, usable), "searched exactly"
    index = CompressedIndex.build(embeddings, code_bytes, usable, reverse)
    least = index.least and f"(least similar: {index.least.recall:.3f} through {index.least.count})"
    return index, (
        f"instead of {4 * embeddings.shape[1]}: recall@20 {index.most.recall:.3f} through {index.most.count} cells"
        f"{f' {least}' if least else ''}, "
        f"with the {SHORTLIST} times as many photos nearest by code ordered by their full embeddings"
    )
