import json
from xml.etree import ElementTree

import pytest

from tests.located import HOSTILE, TRUTH, located
from utils.page.entry import Located, entry
from utils.page.features import features
from utils.page.map_files import geojson, kml

KML = "{http://www.opengis.net/kml/2.2}"


@pytest.fixture
def one():
    return features([entry(located())["ranking"]])


def test_geojson_of_one_photo_has_all_that_its_map_shows(one):
    collection = json.loads(geojson(one))
    assert collection["type"] == "FeatureCollection"
    kinds = [feature["properties"]["kind"] for feature in collection["features"]]
    assert kinds == ["answer", "truth", *["candidate"] * 4, "region", "region"]
    answer, truth, *rest = collection["features"]
    assert answer["geometry"] == {"type": "Point", "coordinates": [-9.42, 38.7]}
    assert answer["properties"]["confidence"]["200"] == 0.625
    assert truth["geometry"]["coordinates"] == [TRUTH[1], TRUTH[0]]
    assert [feature["properties"]["share"] for feature in rest[:4]] == [0.5, 0.25, 0.2, 0.05]
    half, most = rest[4:]
    assert (half["properties"]["percent"], most["properties"]["percent"]) == (50, 90)
    assert half["geometry"]["type"] == "MultiPolygon"
    # The disc at Fiji is cut at the dateline.
    assert [len(part["geometry"]["coordinates"]) for part in (half, most)] == [1, 3]
    for polygon in most["geometry"]["coordinates"]:
        for ring in polygon:
            assert ring[0] == ring[-1]
            assert all(-180 <= x <= 180 and -90 <= y <= 90 for x, y in ring)


def test_kml_says_the_same(one):
    root = ElementTree.fromstring(kml(one, HOSTILE))
    assert root.tag == f"{KML}kml"
    assert root.findtext(f"{KML}Document/{KML}name") == HOSTILE
    placemarks = root.findall(f".//{KML}Placemark")
    assert [mark.findtext(f"{KML}name") for mark in placemarks] == [feature.name for feature in one]
    assert placemarks[0].findtext(f"{KML}Point/{KML}coordinates") == "-9.42000,38.70000"
    assert len(placemarks[-1].findall(f".//{KML}LinearRing")) == 3
    data = {item.get("name"): item.findtext(f"{KML}value") for item in placemarks[2].iter(f"{KML}Data")}
    assert (data["kind"], data["share"], data["reward"]) == ("candidate", "0.5", "-1.0")


def test_of_several_photos_the_answers():
    rankings = [
        entry(photo)["ranking"] for photo in (located("a.jpg"), located("b.jpg"), Located("c", ValueError("x")))
    ]
    found = features(rankings)
    assert [(feature.name, feature.kind) for feature in found] == [
        ("a.jpg", "answer"),
        ("a.jpg: truth", "truth"),
        ("b.jpg", "answer"),
        ("b.jpg: truth", "truth"),
    ]
    assert features(rankings[2:]) == []


@pytest.mark.parametrize("name", [HOSTILE, "a\x00\x1b\ufffe.jpg", "\udcff.jpg"])
def test_names_that_xml_cannot_hold(name):
    found = features([entry(located(name))["ranking"]])
    root = ElementTree.fromstring(kml(found, name).encode("utf-8"))
    said = root.findtext(f"{KML}Document/{KML}Placemark/{KML}name")
    assert said == "".join("\ufffd" if c in "\x00\x1b\ufffe\udcff" else c for c in name)
    assert json.loads(geojson(found))["features"][0]["properties"]["name"] == name
