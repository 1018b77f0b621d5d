import numpy as np
import pytest
from PIL import Image, ImageEnhance

from tests.audited import as_jpeg, edge_crop, picture
from utils.auditing.alignment import Start, likeness, small
from utils.auditing.buckets import RADIUS
from utils.auditing.hashes import CROPS, Window, gallery_hashes, query_hashes
from utils.photos.images import open_image

BOTH = [Start(), Start(of_query=True)]


@pytest.mark.parametrize("seed", range(5))
def test_a_crop_has_the_hash_of_its_photo_in_one_of_its_windows_either_way_round(seed):
    photo, other = picture(seed), picture(seed + 100)
    crop = edge_crop(photo)

    def nearest(query, gallery):
        """Fewest bits between their hashes: middles, wholes."""
        return np.bitwise_count(query_hashes(query) ^ gallery_hashes(gallery)[:, None]).min(axis=1)

    assert nearest(crop, photo)[0] <= RADIUS
    assert nearest(photo, crop)[1] <= RADIUS
    assert nearest(photo, photo).tolist() == [0, 0]
    assert (nearest(other, photo) > RADIUS).all()


def test_likeness_survives_what_is_done_to_a_copy():
    photo = picture(1)
    smaller = photo.resize((48, 36))
    darker = ImageEnhance.Brightness(photo).enhance(0.9)
    for copy in (photo, smaller, darker, open_image(as_jpeg(photo, 50))):
        assert likeness(small(copy), small(photo), BOTH) > 0.9
    crop = edge_crop(photo)
    near = Start(Window(0.05, 0, 1, 0.9))
    assert likeness(small(crop), small(photo), [near]) > 0.9
    assert likeness(small(photo), small(crop), [near._replace(of_query=True)]) > 0.9
    # Nobody knows which of the two is the crop.
    assert likeness(small(crop), small(photo), BOTH) > 0.9
    assert likeness(small(photo), small(crop), BOTH) > 0.9
    assert near.window in [pytest.approx(window) for window in CROPS]
    assert likeness(small(picture(2)), small(photo), BOTH) < 0.5


def test_small_photos_are_compared_at_fewer_pixels():
    photo = picture(1).convert("L").convert("RGB")
    sizes = {(480, 360): 24, (48, 60): 24, (40, 30): 15, (9, 9): 8}
    assert {size: small(photo.resize(size)).side for size in sizes} == sizes
    tiny = open_image(as_jpeg(photo.resize((40, 30)), 50))
    as_large_ones = small(tiny)._replace(side=24)
    assert likeness(as_large_ones, small(photo), BOTH) < likeness(small(tiny), small(photo), BOTH)
    assert likeness(small(tiny), small(photo), BOTH) > 0.925


def test_photos_without_edges_are_alike_by_their_colour():
    grey, same, other = (small(Image.new("RGB", (40, 30), (level,) * 3)) for level in (100, 102, 150))
    assert likeness(grey, same, BOTH) == 1
    assert likeness(grey, other, BOTH) == 0
    assert likeness(grey, small(picture(3)), BOTH) == 0
