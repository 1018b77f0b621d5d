"""Where a training takes its photos from: encoded anew for each group, or from a cache of features."""

import os
from collections.abc import Container, Sequence
from dataclasses import dataclass

from utils.geo_ranker import GeoRanker
from utils.jobs.processes import Processes
from utils.model.features import EncodedPhotos, FeatureCache, shared_features
from utils.model.packing import Packer
from utils.photos.store import ImageStore
from utils.training.groups import GroupRule
from utils.training.rows import TrainingData, report

Photos = EncodedPhotos | FeatureCache


@dataclass(frozen=True)
class GroupPhotos:
    """The photos that groups show, by their ids: as queries and as candidates show them."""

    queries: Photos
    candidates: Photos  # the same object where both are shown alike

    @classmethod
    def alike(cls, photos: Photos) -> "GroupPhotos":
        """Of a ranker that shows both alike."""
        return cls(photos, photos)

    def __contains__(self, image_id: str) -> bool:
        """Whether there is such a photo, in the one form or the other."""
        return image_id in self.queries or image_id in self.candidates


def open_photos(
    store: ImageStore,
    data: TrainingData,
    rule: GroupRule,
    ranker: GeoRanker,
    jpeg_quality: int | None,
    cache: str | os.PathLike | None,
    processes: Processes,
    workers: int,
) -> tuple[GroupPhotos, Container[str]]:
    """The photos that groups show, encoded or as cached features, and which of them there are, by their ids.

    ``jpeg_quality``: photos are re-encoded with it, None: not. ``cache``: the folder of the features, None for
    encoded photos; ``processes`` fill it together, each with so many ``workers``, and how many photos can be used
    is reported.
    """

    def opened(packer: Packer, ids: Sequence[str], name: str) -> Photos:
        if cache is None:
            return EncodedPhotos(store, packer, jpeg_quality)
        photos, unreadable = shared_features(
            cache, ranker.backbone, packer, store, ids, processes, workers, name, jpeg_quality
        )
        report(name, len(ids) - len(unreadable), unreadable)
        return photos

    own, candidates = data.query_photos(), data.candidate_photos(rule)
    if ranker.candidate_packer is ranker.packer:
        photos = GroupPhotos.alike(opened(ranker.packer, list(dict.fromkeys(candidates + own)), "photos"))
    else:
        of_queries = opened(ranker.packer, own, "query photos")
        photos = GroupPhotos(of_queries, opened(ranker.candidate_packer, candidates, "candidates' photos"))
    return photos, store if cache is None else photos
