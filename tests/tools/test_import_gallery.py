"""A gallery out of miniatures of OSV-5M and of WebDataset shards, from the zips to the located photo."""

import json

import pytest

from retrieve_candidates import main as retrieve
from tests.osv5m import row, write_photos, write_table
from tests.pictures import encoded, photo
from tests.tars import write_tar
from tests.zips import write_zip
from tools.import_gallery import main
from utils.locating.results import ranking_json
from utils.locator import Locator
from utils.page.entry import Located, entry
from utils.page.report import write_report
from utils.photos.store import ImageStore
from utils.tables import gallery_import
from utils.tables.ledger import ledger_path, read_authors, read_credits
from utils.tables.metadata import read_metadata
from utils.tables.retrieval_table import read_retrieval_table

# Eight photos in Paris, two of each ride, by two authors; one elsewhere.
ROWS = [
    row(
        number, 48.85 + number / 1000, 2.35, country="FR", city="Paris", sequence=f"ride {number // 2}",
        creator_username=f"mapper {number // 4}", creator_id=f"{number // 4}.0",
    )
    for number in range(8)
] + [row(8, -33.9, 18.4, country="ZA", city="Cape Town", sequence="ride 8", creator_id="1.0")]  # fmt: skip
BOX = ["--bbox", "48", "2", "49", "3"]


@pytest.fixture
def osv5m(tmp_path):
    write_table(tmp_path / "train.csv", ROWS)
    write_photos(tmp_path / "images" / "train", ROWS)
    return tmp_path


def ids(table):
    return [int(image_id.removesuffix(".jpg")) - 10**15 for image_id in read_metadata(table)["IMG_ID"]]


def test_metadata_and_ledger(osv5m, capsys):
    table = osv5m / "paris" / "metadata.csv"
    assert main(["osv5m", str(osv5m / "train.csv"), str(table), *BOX]) == 0
    assert capsys.readouterr().out.splitlines() == [
        f"{table}: 8 photos of 9 rows; {osv5m}/paris/metadata.ledger.csv: whose they are",
        "Left out, outside of the box: 1",
    ]
    assert ids(table) == list(range(8))
    metadata = read_metadata(table)
    assert metadata[["LAT", "LON", "city", "country"]].to_numpy().tolist() == [
        [48.85 + number / 1000, 2.35, "Paris", "France"] for number in range(8)
    ]
    (line,) = (credit.line for credit in read_credits(ledger_path(table), [metadata["IMG_ID"][5]]).values())
    assert line == (
        "mapper 1, CC BY-SA 4.0 (https://creativecommons.org/licenses/by-sa/4.0/), "
        "https://www.mapillary.com/app/?pKey=1000000000000005"
    )
    assert read_authors(ledger_path(table))["author_id"].tolist() == ["0"] * 4 + ["1"] * 4


def test_so_many_a_cell_and_one_of_a_ride(osv5m, capsys):
    table, csv_file = osv5m / "metadata.csv", str(osv5m / "train.csv")
    assert main(["osv5m", csv_file, str(table), "--one_per_sequence"]) == 0
    assert [number // 2 for number in ids(table)] == [0, 1, 2, 3, 4]
    assert "Left out, of a sequence that has one: 4\n" in capsys.readouterr().out
    limited = [csv_file, str(table), "--per_cell", "3", "--cell_km", "500", "--seed"]
    kept = []
    for seed in "001":
        assert main(["osv5m", *limited, seed]) == 0
        assert "Left out, of a cell that is full: 5\n" in capsys.readouterr().out
        kept.append(ids(table))
    assert kept[0] == kept[1] != kept[2]
    assert [len(found) for found in kept] == [4, 4, 4]


def test_only_photos_that_are_there(osv5m, capsys):
    (osv5m / "images" / "train" / "01.zip").unlink()  # has every second photo
    arguments = ["osv5m", str(osv5m / "train.csv"), str(osv5m / "m.csv")]
    assert main([*arguments, "--image_data_path", str(osv5m / "images" / "train")]) == 0
    assert ids(osv5m / "m.csv") == [0, 2, 4, 6, 8]
    assert "Left out, no photo there: 4\n" in capsys.readouterr().out


def test_bad_rows_and_ids_that_come_again_are_named(osv5m, capsys):
    rows = [row(0, "x", 1), *ROWS, ROWS[3], row(9, 1, "")]
    write_table(osv5m / "train.csv", rows)
    assert main(["osv5m", str(osv5m / "train.csv"), str(osv5m / "m.csv")]) == 1
    out, err = capsys.readouterr()
    assert ids(osv5m / "m.csv") == list(range(9))
    assert "Left out, not usable: 3\n" in out
    assert [line.partition("problem: ")[2] for line in err.splitlines() if "problem: " in line] == [
        f"{osv5m}/train.csv: row 0 (1000000000000000): latitude, longitude: could not convert string to float: 'x'",
        f"{osv5m}/train.csv: row 11 (1000000000000009): latitude, longitude: could not convert string to float: ''",
        f"{osv5m}/train.csv: row 10 (1000000000000003): a photo of this id was there before; left out",
    ]


def test_of_many_bad_rows_the_first_are_named(osv5m, capsys, monkeypatch):
    monkeypatch.setattr(gallery_import, "NAMED", 2)
    write_table(osv5m / "train.csv", [*ROWS, *(row(number, "x", 1) for number in range(7))])
    assert main(["osv5m", str(osv5m / "train.csv"), str(osv5m / "m.csv")]) == 1
    problems = [line for line in capsys.readouterr().err.splitlines() if "problem: " in line]
    assert len(problems) == 3
    assert problems[2].endswith("5 more rows cannot be used")


def test_no_photo_is_an_error_that_leaves_no_file(osv5m):
    message = (
        "error: no photo of 9 rows is left; outside of the box: 9; the box is south 0.0, west 0.0, north 1.0, east 1.0$"
    )
    with pytest.raises(SystemExit, match=message):
        main(["osv5m", str(osv5m / "train.csv"), str(osv5m / "m.csv"), "--bbox", "0", "0", "1", "1"])
    write_table(osv5m / "train.csv", [row(1, 2, 3)])
    with pytest.raises(SystemExit, match="no photo names its sequence: leave --one_per_sequence out"):
        main(["osv5m", str(osv5m / "train.csv"), str(osv5m / "m.csv"), "--one_per_sequence"])
    with pytest.raises(SystemExit, match=r"error: 2\.0 0\.0 1\.0 0\.0: a box is south, west, north and east"):
        main(["osv5m", str(osv5m / "train.csv"), str(osv5m / "m.csv"), "--bbox", "2", "0", "1", "0"])
    assert not list(osv5m.glob("*m.csv"))


def test_one_photo_is_one(osv5m, capsys):
    write_table(osv5m / "train.csv", ROWS[:1])
    assert main(["osv5m", str(osv5m / "train.csv"), str(osv5m / "m.csv")]) == 0
    assert f"{osv5m}/m.csv: 1 photo of 1 row; " in capsys.readouterr().out


def test_what_a_killed_import_left_is_removed(osv5m):
    for name in (".1.m.csv", ".1.m.ledger.csv", ".1.train.csv"):
        (osv5m / name).touch()
    for _ in range(2):  # also onto what it wrote
        assert main(["osv5m", str(osv5m / "train.csv"), str(osv5m / "m.csv")]) == 0
        found = {path.name for path in osv5m.iterdir()}
        assert found == {".1.train.csv", "images", "m.csv", "m.ledger.csv", "train.csv"}


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--cell_km", "1e-7"], "1e-7: it is at least 0.001"),
        (["--cell_km", "1e-320"], "1e-320: it is at least 0.001"),
        (["--seed", str(2**64)], f"{2**64}: it is at most {2**64 - 1}"),
        (["--per_cell", str(2**64)], f"{2**64}: it is at most {2**31}"),
        (["--cell_km", "5"], "--cell_km: no use without --per_cell"),
    ],
)
def test_numbers_out_of_bounds(flags, message, capsys):
    with pytest.raises(SystemExit):
        main(["osv5m", "train.csv", "m.csv", *flags])
    assert capsys.readouterr().err.endswith(f"{message}\n")


def test_no_kind_is_an_error_that_names_them(capsys):
    with pytest.raises(SystemExit):
        main([])
    assert "arguments are required: {osv5m,webdataset}\n" in capsys.readouterr().err


def test_the_bounds_of_the_numbers(osv5m):
    flags = ["--cell_km", "0.001", "--seed", str(2**64 - 1), "--per_cell", str(2**31)]
    write_table(osv5m / "train.csv", [row(1, 90, 180), row(2, -90, -180), row(3, 0, 180)])
    assert main(["osv5m", str(osv5m / "train.csv"), str(osv5m / "m.csv"), *flags]) == 0
    assert ids(osv5m / "m.csv") == [1, 2, 3]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("osv5m train.csv ./train.csv", r"table: train\.csv is read, as source, and would be overwritten"),
        ("osv5m m.ledger.csv m.csv", r"table: m\.ledger\.csv is read, as source"),
        ("osv5m train.csv test.csv", r"table: test\.csv exists, and this command did not write it"),
        ("osv5m train.csv m.csv", r"table: m\.ledger\.csv exists, and this command did not write it"),
        ("osv5m train.csv alone.csv", r"table: alone\.csv exists, and this command did not write it"),
        ("webdataset train.csv images/train/00.zip", r"table: images/train/00\.zip is the name of an archive"),
        ("webdataset train.csv new.tar", r"table: new\.tar is the name of an archive"),
        ("webdataset train.csv images new.csv", r"images is a folder: name its tars, as in images/\*\.tar"),
        ("osv5m images new.csv", r"images is a folder: name its table, as in images/train\.csv"),
        ("osv5m train.csv images", "table: images is a folder: name a CSV file in it"),
        ("osv5m train.csv .", r"table: \. is a folder: name a CSV file in it"),
    ],
)
def test_nothing_is_overwritten_but_what_it_wrote(osv5m, monkeypatch, arguments, message):
    monkeypatch.chdir(osv5m)
    for name in ("test.csv", "m.ledger.csv"):
        write_table(osv5m / name, ROWS)
    (osv5m / "alone.csv").write_text("IMG_ID,LAT,LON,neighbourhood,city,county,state,region,country\n")
    before = {path: path.read_bytes() for path in osv5m.rglob("*.*") if path.is_file()}
    with pytest.raises(SystemExit, match=f"^error: {message}[^\n]*$"):
        main(arguments.split())
    assert {path: path.read_bytes() for path in osv5m.rglob("*.*") if path.is_file()} == before


def test_webdataset(tmp_path, capsys):
    shards = []
    for shard in range(2):
        samples = []
        for number in range(3):
            fields = {"latitude": shard, "longitude": number, "creator_id": shard}
            samples += [(f"{shard}{number}.jpg", encoded(photo(seed=number), "JPEG"))]
            samples += [(f"{shard}{number}.json", json.dumps(fields).encode())] if number else []
        shards.append(str(write_tar(tmp_path / f"{shard}.tar", samples)))
    table = tmp_path / "there" / "metadata.csv"
    source = ["--source", "https://www.mapillary.com/app/?pKey={id}"]
    assert main(["webdataset", *shards, str(table), "--licence", "CC0 1.0", *source]) == 1
    out, err = capsys.readouterr()
    assert f"{table}: 4 photos of 6 rows" in out
    assert f"problem: {shards[0]}: 00: no 00.json" in err
    store = ImageStore.from_paths([tmp_path])
    assert [store.open(image_id).size for image_id in read_metadata(table)["IMG_ID"]] == [(48, 32)] * 4
    assert [credit.line for credit in read_credits(ledger_path(table), ["11.jpg"]).values()] == [
        "unknown author, CC0 1.0 (https://creativecommons.org/publicdomain/zero/1.0/), "
        "https://www.mapillary.com/app/?pKey=11"
    ]
    with pytest.raises(SystemExit):
        main(["webdataset", *shards, str(table), "--source", "https://there"])
    assert "argument --source: https://there: it has no {id}" in capsys.readouterr().err


def test_from_zips_to_candidates_without_the_authors_own(osv5m, tiny_base, capsys):
    """The gallery is indexed out of its zips; a query finds its own photo, and without its author another's."""
    write_table(osv5m / "test.csv", [ROWS[number] for number in (1, 6)])
    for split in ("train", "test"):
        assert main(["osv5m", str(osv5m / f"{split}.csv"), str(osv5m / split / "metadata.csv")]) == 0
    zips, index, output = str(osv5m / "images" / "train"), str(osv5m / "index"), osv5m / "test"
    common = ["--index", index, "--num_workers", "2"]
    build = ["build", "--gallery", str(osv5m / "train" / "metadata.csv"), "--image_data_path", zips]
    assert retrieve([*build, "--model", str(tiny_base), *common]) == 0
    search = ["search", "--queries", str(output / "metadata.csv"), "--image_path", zips, "--output_dir", str(output)]

    def found(*arguments):
        assert retrieve([*search, *common, "--topk", "4", *arguments]) == 0
        return [list(one.candidates.values()) for one in read_retrieval_table(output / "retrieval.csv")[0]]

    points = [(cells["latitude"], cells["longitude"]) for cells in ROWS]
    assert [candidates[0] for candidates in found()] == [points[1], points[6]]
    others = [{points[number] for number in numbers} for numbers in ((4, 5, 6, 7, 8), (0, 1, 2, 3))]
    assert all(set(candidates) <= known for candidates, known in zip(found("--exclude_owner"), others, strict=True))
    ledger_path(output / "metadata.csv").unlink()
    message = r"/test/metadata\.ledger\.csv does not exist: the ledger beside \S+/test/metadata\.csv, .* one group"
    with pytest.raises(SystemExit, match=message):
        found("--exclude_owner")
    assert "owners are the authors of the ledgers" in capsys.readouterr().err


def test_whose_the_candidates_photos_are_stands_in_every_result(osv5m, tiny_base):
    table, zips, index = osv5m / "train" / "metadata.csv", str(osv5m / "images" / "train"), str(osv5m / "index")
    assert main(["osv5m", str(osv5m / "train.csv"), str(table)]) == 0
    build = ["build", "--gallery", str(table), "--image_data_path", zips, "--index", index, "--num_workers", "0"]
    assert retrieve([*build, "--model", str(tiny_base)]) == 0
    photo(24, 24, 5).save(osv5m / "asked.png")
    locator = Locator.from_pretrained(index=index, image_data_path=zips, topn=3)
    answer = locator.locate(osv5m / "asked.png")
    ranking = json.loads(json.dumps(ranking_json(answer, {"photo": "asked.png"})))
    write_report(osv5m / "report.html", [entry(Located("asked.png", answer))])

    def expected(candidate):
        number = int(candidate["image"].removesuffix(".jpg"))
        return {
            "author": ROWS[number - 10**15].get("creator_username", ""),
            "licence": "CC BY-SA 4.0",
            "licence_url": "https://creativecommons.org/licenses/by-sa/4.0/",
            "source": f"https://www.mapillary.com/app/?pKey={number}",
        }

    assert f"{10**15 + 5}.jpg" in [candidate["image"] for candidate in ranking["candidates"]]
    assert [candidate["credit"] for candidate in ranking["candidates"]] == list(map(expected, ranking["candidates"]))
    page = (osv5m / "report.html").read_text(encoding="utf-8")
    (told,) = json.loads(page.split('id="entries">')[1].split("</script>")[0])
    assert told["ranking"] == ranking
    for known, shown in zip(map(expected, ranking["candidates"]), told["candidates"], strict=True):
        assert shown["credit"] == [
            {"name": known["author"] or "unknown author", "url": None},
            {"name": "www.mapillary.com", "url": known["source"]},
            {"name": "CC BY-SA 4.0", "url": known["licence_url"]},
        ]

    # A damaged ledger costs the credits, and nothing else.
    ledger_path(table).write_text("IMG_ID,author\n1,2\n")
    found = locator.locate(osv5m / "asked.png").as_json()
    assert {candidate["credit"] for candidate in found["candidates"]} == {None}
    (note,) = found["notes"]
    assert note.startswith("whose the gallery's photos are is not known: ")
    assert "train/metadata.ledger.csv: no ledger with columns" in note
    plain = [candidate | {"credit": None} for candidate in ranking["candidates"]]
    assert ranking | found | {"notes": [], "candidates": plain} == ranking | {"candidates": plain}
    ledger_path(table).unlink()
    assert locator.locate(osv5m / "asked.png").notes == ()


def test_a_zip_that_stopped_costs_the_photos_in_it(osv5m, tiny_base, capsys):
    zips = osv5m / "images" / "train"
    (zips / "01.zip").write_bytes((zips / "01.zip").read_bytes()[:-50])
    write_zip(zips / "02.zip", [("more.jpg", encoded(photo(24, 24), "JPEG"))])
    main(["osv5m", str(osv5m / "train.csv"), str(osv5m / "metadata.csv")])
    build = ["build", "--gallery", str(osv5m / "metadata.csv"), "--image_data_path", str(zips)]
    assert retrieve([*build, "--model", str(tiny_base), "--index", str(osv5m / "index"), "--num_workers", "0"]) == 1
    problems = [line for line in capsys.readouterr().err.splitlines() if "problem: " in line]
    assert len(problems) == 4
    assert all("; 01.zip: File is not a zip file" in line for line in problems)
