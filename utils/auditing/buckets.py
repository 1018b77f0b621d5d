"""Which of millions of hashes lie near one, by buckets: faiss' multi-index hashing (Norouzi, Punjani, Fleet 2012)."""

import faiss
import numpy as np

from utils.auditing.hashes import BITS

PIECES, FLIPPED = 4, 2  # a hash is looked up by each of its pieces, with up to so many bits of it flipped
RADIUS = 8  # bits in which hashes of one picture may differ; complete, as no piece then differs in more than FLIPPED
BATCH = 4096  # hashes looked up at a time


class Buckets:
    """Hashes (n,) uint64 that can be looked up. Equal ones are kept once: a picture may be there a million times."""

    def __init__(self, codes: np.ndarray) -> None:
        self.codes, inverse, self.counts = np.unique(codes, return_inverse=True, return_counts=True)
        self._rows = np.argsort(inverse, kind="stable")
        self._starts = np.cumsum(self.counts) - self.counts
        self._index = faiss.IndexBinaryMultiHash(BITS, PIECES, BITS // PIECES)
        self._index.nflip = FLIPPED
        self._index.add(_bytes(self.codes))

    def search(self, codes: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """All pairs of a hash of ``codes`` (m,) and a known one at most ``RADIUS`` bits apart.

        Returns positions in ``codes``, positions in ``self.codes``, and bits: (pairs,) each.
        """
        found = []
        for start in range(0, len(codes), BATCH):
            # faiss finds what is nearer than a radius.
            limits, bits, known = self._index.range_search(_bytes(codes[start : start + BATCH]), RADIUS + 1)
            asked = np.repeat(np.arange(len(limits) - 1), np.diff(limits.astype(np.int64)))
            found.append(np.stack([asked + start, known, bits.astype(np.int64)]))
        asked, known, bits = np.concatenate([np.empty((3, 0), dtype=np.int64), *found], axis=1)
        return asked, known, bits

    def rows(self, known: int, most: int) -> np.ndarray:
        """The first ``most`` rows that have the hash ``self.codes[known]``."""
        start = self._starts[known]
        return self._rows[start : start + min(self.counts[known], most)]


def _bytes(codes: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(codes).view(np.uint8).reshape(len(codes), BITS // 8)
