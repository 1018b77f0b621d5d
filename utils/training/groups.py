"""How a training group is drawn from a GeoRanking row: which candidates a query is ranked with.

The released rule takes the candidates 1..group_size of a row as they are: position 0 is the query itself, and
the last five references are the negative examples (paper 2505.13731 and its training data). Everything beyond
it is off by default: a wider pool of retrieved candidates, generated candidates among them, and a curriculum
of easy groups in which a few retrieved candidates stand beside photos of the region and of anywhere.
"""

from collections.abc import Container, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from utils.candidates import NUM_NEGATIVES, Candidate, Query
from utils.geography.geodesy import EARTH_RADIUS_KM, unit_vectors
from utils.training.georanking import GeoRankingRow

MAX_RETRIEVED_IN_EASY_GROUP = 3


@dataclass(frozen=True)
class GroupRule:
    """What a group is made of. Raises ValueError, naming the setting, where that is impossible."""

    group_size: int = 5  # candidates in a group
    hard_pool: int | None = None  # retrieved candidates are drawn from the first so many; None: group_size
    generated: int = 0  # so many of them give way to generated candidates, where the row has some
    easy_share: tuple[float, float] = (0.0, 0.0)  # share of easy groups at the start and end of training
    regional_km: float = 1500.0  # how far from the query a regional photo of an easy group may be
    drop_empty_names: bool = False  # of a row's places, as tables do; the released training joins names as they are

    def __post_init__(self) -> None:
        if self.group_size < 2:
            raise ValueError(f"group_size is {self.group_size}: a ranking needs at least 2 candidates")
        if self.pool < self.group_size:
            raise ValueError(f"hard_pool is {self.hard_pool}, smaller than group_size ({self.group_size})")
        if not 0 <= self.generated < self.group_size:
            raise ValueError(f"generated is {self.generated}: it must leave a retrieved candidate in the group")
        if not all(0 <= share <= 1 for share in self.easy_share):
            raise ValueError(f"easy_share is {self.easy_share}: shares lie between 0 and 1")
        if not self.regional_km > 0:
            raise ValueError(f"regional_km is {self.regional_km}: it must be positive")

    @property
    def pool(self) -> int:
        """How many of a row's retrieved candidates, from position 1 on, can enter a group."""
        return self.group_size if self.hard_pool is None else self.hard_pool

    def easy_share_at(self, progress: float) -> float:
        """The share of easy groups when ``progress`` (0 to 1) of the training is done: linear in between."""
        start, end = self.easy_share
        return start + (end - start) * progress


class EasyPool:
    """The geotagged photos from which an easy group takes its regional and random candidates.

    ``ids`` are n photo ids, ``points`` (n, 2) [latitude, longitude] in degrees, ``texts`` n tuples of place
    names.
    """

    def __init__(self, ids: Sequence[str], points: np.ndarray, texts: Sequence[tuple[str, ...]]) -> None:
        self.ids = list(ids)
        self.points = np.asarray(points, dtype=np.float64).reshape(-1, 2)
        self.texts = list(texts)
        self._vectors = unit_vectors(self.points[:, 0], self.points[:, 1])

    @classmethod
    def from_metadata(cls, metadata: pd.DataFrame, columns: Sequence[str]) -> "EasyPool":
        """The photos of a metadata table, with the place names of ``columns``, empty ones dropped."""
        texts = metadata[list(columns)].itertuples(index=False, name=None)
        named = [tuple(filter(None, names)) for names in texts]
        return cls(metadata["IMG_ID"], metadata[["LAT", "LON"]].to_numpy(np.float64), named)

    def __len__(self) -> int:
        return len(self.ids)

    def only(self, ids: Container[str]) -> "EasyPool":
        """The photos whose id is in ``ids``."""
        kept = [position for position, image_id in enumerate(self.ids) if image_id in ids]
        return EasyPool(
            [self.ids[position] for position in kept],
            self.points[kept],
            [self.texts[position] for position in kept],
        )

    def within(self, latitude: float, longitude: float, km: float) -> np.ndarray:
        """Positions of the photos at most ``km`` from a point in degrees, ascending."""
        cosine = np.cos(min(km / EARTH_RADIUS_KM, np.pi))
        return np.flatnonzero(self._vectors @ unit_vectors(latitude, longitude) >= cosine)

    def candidate(self, position: int) -> Candidate:
        latitude, longitude = self.points[position].tolist()
        return Candidate(latitude, longitude, self.texts[position], self.ids[position])


def draw_group(
    row: GeoRankingRow,
    rule: GroupRule,
    generator: np.random.Generator,
    progress: float = 0.0,
    gallery: EasyPool | None = None,
) -> Query:
    """One training group of ``row``, a function of the arguments and the generator's state alone.

    ``progress`` (0 to 1) is how much of the training is done. A rule with easy groups needs a ``gallery``;
    ValueError is raised where there is none. With the default rule the group is the released one and the
    generator is not used.
    """
    share = rule.easy_share_at(progress)
    if share and gallery is None:
        raise ValueError("easy groups are drawn from a gallery, and there is none")
    if share and generator.random() < share:
        candidates = _easy_candidates(row, rule, generator, gallery)
    elif rule.pool == rule.group_size:
        candidates = [_reference(row, position, rule) for position in range(1, 1 + rule.group_size)]
    else:
        drawn = np.sort(generator.choice(rule.pool, rule.group_size, replace=False))
        candidates = [_reference(row, 1 + int(position), rule) for position in drawn]
    count = min(rule.generated, len(row.zs_gps))
    if count:
        places = generator.choice(len(candidates), count, replace=False)
        guesses = generator.choice(len(row.zs_gps), count, replace=False)
        for place, guess in zip(places, guesses, strict=True):
            candidates[place] = Candidate(*row.zs_gps[guess], source="generation")
    return _query(row, candidates, rule)


def evaluation_group(row: GeoRankingRow, rule: GroupRule) -> Query:
    """All of the row's candidates that training could draw: the first ``pool`` and ``generated`` guesses."""
    retrieved = [_reference(row, position, rule) for position in range(1, 1 + rule.pool)]
    guesses = [Candidate(*guess, source="generation") for guess in row.zs_gps[: rule.generated]]
    return _query(row, retrieved + guesses, rule)


def _easy_candidates(
    row: GeoRankingRow, rule: GroupRule, generator: np.random.Generator, gallery: EasyPool
) -> list[Candidate]:
    """One to three retrieved candidates, then half the rest from the query's region, half from anywhere."""
    retrieved = int(generator.integers(1, min(MAX_RETRIEVED_IN_EASY_GROUP, rule.group_size - 1) + 1))
    drawn = np.sort(generator.choice(rule.pool, retrieved, replace=False))
    candidates = [_reference(row, 1 + int(position), rule) for position in drawn]
    taken = {row.img_id, *row.ref_img_id}
    rest = rule.group_size - retrieved
    near = gallery.within(*row.gps, rule.regional_km)
    for source, wanted in ((near, retrieved + (rest + 1) // 2), (range(len(gallery)), rule.group_size)):
        # Enough to find the wanted ones even if every photo taken already came up again.
        enough = min(len(source), wanted + len(taken))
        for index in generator.choice(len(source), enough, replace=False) if enough else ():
            position = int(source[index])
            if len(candidates) < wanted and gallery.ids[position] not in taken:
                taken.add(gallery.ids[position])
                candidates.append(gallery.candidate(position))
    return candidates


def _reference(row: GeoRankingRow, position: int, rule: GroupRule) -> Candidate:
    # The released training writes ", " before the names also where there are none: one empty name says the same.
    names = tuple(row.ref_texts[position]) or ("",)
    if rule.drop_empty_names:
        names = tuple(filter(None, names))
    return Candidate(*row.ref_gps[position], names, row.ref_img_id[position])


def _query(row: GeoRankingRow, candidates: Sequence[Candidate], rule: GroupRule) -> Query:
    count = len(row.ref_gps)
    negatives = [
        replace(_reference(row, position, rule), image=None) for position in range(max(0, count - NUM_NEGATIVES), count)
    ]
    return Query(row.img_id, tuple(candidates), tuple(negatives), *row.gps)
