"""The photos that a benchmark's queries show, as the ranker takes them."""

from collections.abc import Sequence

from utils.candidates import Query
from utils.geo_ranker import GeoRanker
from utils.jobs.processes import Processes
from utils.model.features import EncodedPhotos, FeatureCache, shared_features
from utils.photos.store import ImageStore


def photos_of_queries(
    cache: str | None,
    ranker: GeoRanker,
    queries: Sequence[Query],
    photos: ImageStore,
    gallery: ImageStore,
    processes: Processes,
    workers: int,
) -> list[EncodedPhotos | FeatureCache]:
    """Photos of queries and gallery: decoded when asked for, or from the feature ``cache``, a folder.

    Those of the gallery are re-encoded as JPEG and shrunk as the adapter says. All ``processes`` fill the cache
    together. What is wrong with a photo is said where it is missed.
    """
    quality = ranker.info.candidate_jpeg_quality
    if cache is None:
        return [EncodedPhotos(photos, ranker.packer), EncodedPhotos(gallery, ranker.candidate_packer, quality)]
    own = [query.image for query in queries]
    candidates = [c.image for query in queries for c in query.candidates if c.image]
    shown = {
        "query photos": (ranker.packer, photos, own, None),
        "gallery photos": (ranker.candidate_packer, gallery, candidates, quality),
    }
    return [
        shared_features(cache, ranker.backbone, packer, store, ids, processes, workers, name, form)[0]
        for name, (packer, store, ids, form) in shown.items()
    ]
