"""Candidates from GeoCLIP: those of its 100,000 points that it finds most like a photo."""

from collections.abc import Sequence

from PIL import Image

from utils.candidates import Candidate
from utils.locating.photo import Photo
from utils.locating.sources import Found
from utils.photos.images import ImageError
from utils.retrieval.geoclip import GeoClip

SEARCHED = 200  # points, of which near ones are merged


class GeoClipSource:
    """Points of the Earth with neither photo nor names, which a ranker reads as it reads a guess."""

    words = "points of GeoCLIP"

    def __init__(self, geoclip: GeoClip, topn: int = 12, merge_km: float = 0.0) -> None:
        self.geoclip, self.take, self.merge_km = geoclip, topn, merge_km

    def find(self, photos: Sequence[Photo]) -> list[Found]:
        rows, _ = self.geoclip.search(self.geoclip.encode([photo.image for photo in photos]), max(SEARCHED, self.take))
        points = self.geoclip.points[rows].tolist()  # (photos, SEARCHED, 2)
        return [Found([Candidate(*point, source="geoclip") for point in of_photo]) for of_photo in points]

    def open(self, image_id: str) -> Image.Image:
        raise ImageError(f"{image_id}: a point of GeoCLIP has no photo")
