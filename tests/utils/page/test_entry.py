import json

import pytest

from tests.located import TRUTH, located, unknown
from utils.locating.listing import distances_to
from utils.locating.locations import Location
from utils.locating.results import ranking_json
from utils.page.entry import FORMAT, Located, entry, entry_of_row, format_point
from utils.page.pictures import Sizes
from utils.photos.images import ImageError


def test_an_entry_has_the_ranking_and_what_a_reader_lacks_of_it():
    photo = located()
    found = entry(photo)
    assert json.loads(json.dumps(found)) == json.loads(json.dumps(dict(found)))
    assert found["ranking"] == ranking_json(photo.found, {"photo": "photo.jpg"}, TRUTH)
    assert found["answer"] == 1
    assert (found["photo"]["width"], found["photo"]["height"]) == (90, 60)
    assert [place["photo"] is not None for place in found["candidates"]] == [True, True, False, False]
    assert [place["share"] for place in found["candidates"]] == ["50.0%", "25.0%", "20.0%", "5.0%"]
    assert [place["source"] for place in found["candidates"]] == [
        "similar photo",
        "guess",
        "GeoCLIP's point",
        "similar photo",
    ]
    distances = [f"{distance:,.1f} km" for distance in distances_to(TRUTH, photo.found)]
    assert [place["to_truth"] for place in found["candidates"]] == distances
    assert [chance["text"] for chance in found["chances"]] == ["hardly ever", "25%", "62%", "70%", "nearly always"]
    assert found["regions"][0] == "Holds the truth 50% of the time: one disc, as large as one of 40 km radius"
    assert found["decided"] == "the GeoRanker in path/adapter, by the agreement of the candidates"
    assert "torch" in found["made"]["versions"]


def test_without_truth_and_confidence():
    photo = unknown()
    found = entry(Located(photo.name, photo.found))
    assert (found["photo"], found["truth"], found["chances"], found["regions"]) == (None, None, [], [])
    assert found["has_gps"] is True
    assert {place["to_truth"] for place in found["candidates"]} == {None}


def test_a_photo_without_an_answer():
    found = entry(Located("x.jpg", ImageError("x.jpg: it is broken")))
    assert found["verdict"]["state"] == "problem"
    assert found["ranking"] == {"photo": "x.jpg", "problem": "x.jpg: it is broken"}


def test_fewer_candidates_have_photos_on_a_page_of_many():
    found = entry(located(), Sizes(50, 20, 1))
    assert [place["photo"] is not None for place in found["candidates"]] == [True, False, False, False]


def test_a_photo_that_is_gone_since_it_was_compared_is_none():
    def gone():
        raise ImageError("g.jpg: is gone")

    photo = located()
    object.__setattr__(photo.found.places[0], "photo", gone)
    assert entry(photo)["candidates"][0]["photo"] is None


@pytest.mark.parametrize("confidence", [0.75, None])
def test_a_row_says_less(confidence):
    row = Location("a.jpg", 38.7, -9.4, "Cascais, Portugal", confidence, True)
    found = entry_of_row(row, None, Sizes.of(30))
    assert found["format"] == FORMAT
    assert found["verdict"]["state"] == ("unknown" if confidence is None else "likely")
    assert found["ranking"]["prediction"] == {"latitude": 38.7, "longitude": -9.4, "place": "Cascais, Portugal"}
    problem = entry_of_row(Location("b.jpg", problem="it is broken"), None, Sizes.of(30))
    assert problem["verdict"]["below"] == "it is broken"


def test_degrees_as_people_write_them():
    assert format_point((-33.86786, 151.20732)) == "33.8679° S, 151.2073° E"
    assert format_point((0.0, -9.0)) == "0.0000° N, 9.0000° W"
