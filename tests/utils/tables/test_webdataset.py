"""Shards with a photo and a JSON object of one key each."""

import json
import os

import pytest

from tests.tars import write_tar
from utils.photos.credit import Credit
from utils.tables.imported_photo import ImportedPhoto
from utils.tables.webdataset import MOST_JSON, index_shards, read_webdataset

PARIS = {"lat": 48.85, "lng": 2.35, "city": "Paris", "country": "FR", "state": "Île-de-France", "region": "no"}


def write_shard(path, samples):
    contents = []
    for name, data in samples.items():
        contents.append((name, data if isinstance(data, bytes) else json.dumps(data).encode()))
    return write_tar(path, contents)


def read(*paths, licence="", source=""):
    assert index_shards(paths) == []
    return list(read_webdataset(paths, licence, source))


def test_photos_and_their_objects(tmp_path):
    shards = [
        write_shard(tmp_path / "0.tar", {"./a/1.jpg": b"x", "./a/1.json": PARIS, "./a/1.txt": b"caption"}),
        write_shard(
            tmp_path / "1.tar",
            {
                "b.1.json": {},  # of the key b
                "c.png": b"x",
                "c.json": {"Latitude": "-1.5", "LONGITUDE": 3, "license": "CC0", "creator_id": 7, "sequence": None},
                "b.json": PARIS | {"creator_username": "me", "url": "https://there", "sequence": "s"},
                "b.jpeg": b"x",
            },
        ),
    ]
    texts = ("", "Paris", "", "Île-de-France", "", "France")
    by = "CC BY 4.0", "https://creativecommons.org/licenses/by/4.0/"
    assert read(*shards, licence="CC BY 4.0", source="https://here/{id}/{x}") == [
        ImportedPhoto("a/1.jpg", 48.85, 2.35, texts, "", Credit("", "", *by, "https://here/1/{x}")),
        ImportedPhoto("b.jpeg", 48.85, 2.35, texts, "s", Credit("me", "", *by, "https://there")),
        ImportedPhoto("c.png", -1.5, 3.0, ("",) * 6, "", Credit("", "7", "CC0", "", "https://here/c/{x}")),
    ]


def test_indexes_are_made_once(tmp_path):
    shard = write_shard(tmp_path / "0.tar", {"1.jpg": b"x", "1.json": PARIS})
    read(shard)
    made = os.stat(f"{shard}.index")
    read(shard)
    assert os.stat(f"{shard}.index") == made


def test_bad_samples_are_named_and_cost_only_themselves(tmp_path):
    samples = {"good.jpg": b"x", "good.json": PARIS, "alone.json": PARIS, "without.jpg": b"x"}
    for name, data in {
        "list": [],
        "broken": b"{",
        "deep": b"[" * 10**5,
        "nowhere": {"lat": 1},
        "text": {"lat": "x", "lon": 1},
        "nan": b'{"lat": NaN, "lon": 1}',
        "huge": b" " * (MOST_JSON + 1),
        "binary": b"\xff\xfe{}",
        "surrogate": b'{"lat": 1, "lon": 2, "city": "x\\ud800y"}',
    }.items():
        samples |= {f"{name}.jpg": b"x", f"{name}.json": data}
    shard = write_shard(tmp_path / "0.tar", samples)
    found = read(shard)
    assert [photo.image_id for photo in found if isinstance(photo, ImportedPhoto)] == ["good.jpg"]
    problems = [str(problem) for problem in found if isinstance(problem, ValueError)]
    for name, reason in [
        ("alone", "no photo among alone.json"),
        ("binary", "binary.json: no JSON: "),
        ("broken", "broken.json: no JSON: "),
        ("deep", "deep.json: no JSON: "),
        ("huge", "huge.json: more than 1,048,576 bytes"),
        ("list", "list.json: no JSON object"),
        ("nan", "latitude, longitude: "),
        ("nowhere", "latitude, longitude: "),
        ("surrogate", r"city: 'x\ud800y' has what UTF-8 cannot write"),
        ("text", "latitude, longitude: "),
        ("without", "no without.json"),
    ]:
        assert problems.pop(0).startswith(f"{shard}: {name}: {reason}")
    assert not problems


def test_a_damaged_shard_gives_what_lies_before_the_damage(tmp_path):
    shard = write_shard(
        tmp_path / "0.tar", {"1.jpg": b"x" * 600, "1.json": PARIS, "2.jpg": b"x" * 600, "2.json": PARIS}
    )
    shard.write_bytes(shard.read_bytes()[:3300])
    (problem,) = index_shards([shard])
    assert problem.startswith(f"{shard}: damaged at byte ")
    assert [photo.image_id for photo in read_webdataset([shard]) if isinstance(photo, ImportedPhoto)] == ["1.jpg"]


def test_credits_have_one_line_a_text_and_whole_ids(tmp_path):
    samples = {}
    for number, told in enumerate(
        [
            {
                "author": " a\x00b\nc ",
                "author_id": "d\re",
                "license": "f\n",
                "license_url": "g\u2028h",
                "url": "\x1bi\tj",
            },
            {"creator_id": 111336221091714.0},
            {"creator_id": 1.0386281e17},
            {"creator_id": "7.0"},
            {"creator_id": 123456789012345678},
            {"creator_id": "v1.0"},
        ]
    ):
        samples |= {f"{number}.jpg": b"x", f"{number}.json": PARIS | told}
    first, *others = (photo.credit for photo in read(write_shard(tmp_path / "0.tar", samples)))
    assert first == Credit("a b c", "d e", "f", "g h", "i j")
    ids = ["111336221091714", "103862810000000000", "7", "123456789012345678", "v1.0"]
    assert [credit.author_id for credit in others] == ids


@pytest.mark.parametrize(
    ("told", "url"),
    [
        ({"license": "CC0 1.0"}, "https://creativecommons.org/publicdomain/zero/1.0/"),
        ({"license": "CC BY 2.0"}, "https://creativecommons.org/licenses/by/2.0/"),
        ({"license": "CC BY-ND 3.0"}, "https://creativecommons.org/licenses/by-nd/3.0/"),
        ({"license": "CC BY-NC 4.0"}, "https://creativecommons.org/licenses/by-nc/4.0/"),
        ({"license": "cc-by-nc-sa-4.0"}, "https://creativecommons.org/licenses/by-nc-sa/4.0/"),
        ({"license": "CC BY-NC-ND 2.0"}, "https://creativecommons.org/licenses/by-nc-nd/2.0/"),
        ({}, "https://creativecommons.org/licenses/by-sa/4.0/"),
        ({"license": "CC BY 4.0", "license_url": "https://mine"}, "https://mine"),
        ({"license": "CC BY 3.0 DE"}, ""),  # another text, at another address
        ({"license": "CC BY-SA-ND 4.0"}, ""),
        ({"license": "CC BY 5.0"}, ""),
        ({"license": "mine"}, ""),
    ],
)
def test_licences_of_creative_commons_get_their_address(tmp_path, told, url):
    shard = write_shard(tmp_path / "0.tar", {"1.jpg": b"x", "1.json": PARIS | told})
    (photo,) = read(shard, licence="CC BY-SA 4.0")
    assert photo.credit.licence_url == url
