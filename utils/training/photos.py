"""Where a training takes its photos from: encoded anew for each group, or from a cache of features."""

import os
from collections.abc import Container

from utils.geo_ranker import GeoRanker
from utils.jobs.processes import Processes
from utils.model.features import EncodedPhotos, FeatureCache, shared_features
from utils.photos.store import ImageStore
from utils.training.groups import GroupRule
from utils.training.rows import TrainingData, report


def open_photos(
    store: ImageStore,
    data: TrainingData,
    rule: GroupRule,
    ranker: GeoRanker,
    jpeg_quality: int | None,
    cache: str | os.PathLike | None,
    processes: Processes,
    workers: int,
) -> tuple[EncodedPhotos | FeatureCache, Container[str]]:
    """The photos that groups show, encoded or as cached features, and which of them there are, by their ids.

    ``jpeg_quality``: photos are re-encoded with it, None: not. ``cache``: the folder of the features, None for
    encoded photos; ``processes`` fill it together, each with so many ``workers``, and how many photos can be used
    is reported.
    """
    if cache is None:
        return EncodedPhotos(store, ranker.packer, jpeg_quality), store
    ids = data.shown_photos(rule)
    photos, unreadable = shared_features(
        cache,
        ranker.backbone,
        ranker.packer,
        store,
        ids,
        processes,
        workers,
        "photos",
        jpeg_quality,
    )
    report("photos", len(ids) - len(unreadable), unreadable)
    return photos, photos
