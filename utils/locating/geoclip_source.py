"""Candidates from GeoCLIP: those of its 100,000 points that it finds most like a photo."""

from collections.abc import Sequence

from PIL import Image

from utils.candidates import Candidate
from utils.locating.photo import Photo
from utils.locating.sources import Found
from utils.photos.images import ImageError
from utils.retrieval.geoclip import GeoClip

SEARCHED = 100  # points, of which near ones are merged: half of the best repeat each other (docs/geoclip.md)
MERGE_KM = 1.0


class GeoClipSource:
    """Points of the Earth with neither photo nor names, which a ranker reads as it reads a guess."""

    def __init__(self, geoclip: GeoClip, topn: int = 12, merge_km: float = MERGE_KM) -> None:
        """Embeds the points where that was not done yet: what fails there is no fault of a photo."""
        geoclip.places.prepare()
        self.geoclip, self.take, self.merge_km = geoclip, topn, merge_km
        self.words = f"of GeoCLIP's {len(geoclip.points):,} points"

    def find(self, photos: Sequence[Photo]) -> list[Found]:
        count = min(max(SEARCHED, self.take), len(self.geoclip.points))
        rows, similarities = self.geoclip.search(self.geoclip.encode([photo.image for photo in photos]), count)
        points = self.geoclip.points[rows].tolist()  # (photos, count, 2)
        return [_found(*of_photo) for of_photo in zip(points, similarities.tolist(), strict=True)]

    def open(self, image_id: str) -> Image.Image:
        raise ImageError(f"{image_id}: a point of GeoCLIP has no photo")


def _found(points: Sequence[Sequence[float]], similarities: Sequence[float]) -> Found:
    pairs = zip(points, similarities, strict=True)
    return Found([Candidate(*point, source="geoclip", geoclip=cosine) for point, cosine in pairs])
