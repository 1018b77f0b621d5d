import numpy as np
import pytest

from utils.locating.geoclip_source import GeoClipSource
from utils.locating.photo import Photo
from utils.retrieval.geoclip import GeoClip


def test_the_points_are_those_that_a_search_finds(geoclip_release, tiny_clip, make_image):
    geoclip = GeoClip.from_pretrained(geoclip_release, clip=tiny_clip)
    source = GeoClipSource(geoclip, topn=5)
    photos = [Photo(make_image(24, 24, number), "q.png", "q.png") for number in range(2)]
    found = source.find(photos)
    cosines = geoclip.encode([photo.image for photo in photos]) @ geoclip.point_embeddings.T
    for part, row in zip(found, cosines, strict=True):
        best = geoclip.points[np.argsort(-row, kind="stable")][: len(part.candidates)]
        assert [(place.latitude, place.longitude) for place in part.candidates] == [
            tuple(point) for point in best.tolist()
        ]
        assert {(place.source, place.image, place.similarity) for place in part.candidates} == {("geoclip", None, None)}
        assert [place.geoclip for place in part.candidates[:5]] == pytest.approx(np.sort(row)[::-1][:5], abs=1e-6)
        assert len(part.candidates) > 5  # further ones take the places of those that are merged
    assert source.words == "of GeoCLIP's 300 points"
