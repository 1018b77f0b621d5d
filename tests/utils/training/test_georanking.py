"""GeoRanking parquet: exact round trip, the released columns, and references that cannot be used."""

import math
import re

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.commands import ROOT
from utils.training import georanking
from utils.training.georanking import GeoRankingRow, read_georanking, write_georanking

coordinates = st.tuples(st.floats(-90, 90), st.floats(-180, 180))
texts = st.text(st.characters(codec="utf-8"), max_size=8)


@st.composite
def rows(draw):
    gps = draw(st.lists(coordinates, min_size=1, max_size=5))
    each = {"min_size": len(gps), "max_size": len(gps)}
    return GeoRankingRow(
        img_id=draw(texts.filter(bool)),
        gps=draw(coordinates),
        ref_gps=gps,
        ref_img_id=draw(st.lists(texts.filter(bool), **each)),
        ref_texts=draw(st.lists(st.lists(texts, max_size=6), **each)),
        zs_gps=draw(st.lists(coordinates, max_size=3)),
    )


@settings(deadline=None, max_examples=50)
@given(st.lists(rows(), max_size=4))
def test_reads_back_exactly(tmp_path_factory, written):
    path = tmp_path_factory.mktemp("georanking") / "rows.parquet"
    write_georanking(path, written)
    assert read_georanking(path) == (written, [])


def test_rows_are_written_as_they_come(tmp_path, monkeypatch):
    """The file grows after every row group, while the next rows are still being made."""
    monkeypatch.setattr(georanking, "GROUP_ROWS", 3)
    path, sizes = tmp_path / "rows.parquet", []

    def rows():
        for number in range(20):
            sizes.append(sum(file.stat().st_size for file in tmp_path.iterdir()))
            yield GeoRankingRow(f"{number}.jpg", (1.0, 2.0), [(1.0, 2.0)], [f"{number}.jpg"], [["A"]])

    assert write_georanking(path, rows()) == 20
    assert all((sizes[row] > sizes[row - 1]) == (row % 3 == 0) for row in range(1, 20))
    assert pq.ParquetFile(path).num_row_groups == 7
    assert [row.img_id for row in read_georanking(path)[0]] == [f"{number}.jpg" for number in range(20)]


def test_an_interruption_leaves_the_old_file(tmp_path, monkeypatch):
    monkeypatch.setattr(georanking, "GROUP_ROWS", 2)
    old = GeoRankingRow("old.jpg", (1.0, 2.0), [(1.0, 2.0)], ["old.jpg"], [[]])
    path = tmp_path / "rows.parquet"
    write_georanking(path, [old])

    def rows():
        yield from [old] * 5
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_georanking(path, rows())
    assert read_georanking(path) == ([old], [])
    assert list(tmp_path.iterdir()) == [path]


def record(**values):
    return {
        "img_id": "query.jpg",
        "gps": [46.1, 7.1],
        "ref_gps": [[46.1, 7.1], [47.0, 8.0], [48.0, 9.0]],
        "ref_img_id": ["query.jpg", "one.jpg", "two.jpg"],
        "ref_texts": [["Martigny", "Valais"], ["Zürich", None, "NA"], []],
    } | values


def write_records(path, *records):
    pq.write_table(pa.Table.from_pylist(list(records)), path)
    return path


def test_released_columns(tmp_path):
    """The released files have no zs_gps, and a folder of them is read in order of name."""
    write_records(tmp_path / "b.parquet", record(img_id="second.jpg"))
    write_records(tmp_path / "a.parquet", record(img_id="first.jpg"))
    (tmp_path / "README.md").write_text("not parquet")
    found, problems = read_georanking(tmp_path)
    assert problems == []
    assert [row.img_id for row in found] == ["first.jpg", "second.jpg"]
    assert found[0] == GeoRankingRow(
        "first.jpg",
        (46.1, 7.1),
        [(46.1, 7.1), (47.0, 8.0), (48.0, 9.0)],
        ["query.jpg", "one.jpg", "two.jpg"],
        [["Martigny", "Valais"], ["Zürich", "", "NA"], []],
    )


@pytest.mark.parametrize("point", [[float("nan"), 8.0], [91.0, 8.0], [47.0], None])
def test_unusable_reference_goes_with_its_image_and_texts(tmp_path, point):
    path = write_records(tmp_path / "rows.parquet", record(ref_gps=[[46.1, 7.1], point, [48.0, 9.0]]))
    [row], problems = read_georanking(path)
    assert (row.ref_gps, row.ref_img_id, row.ref_texts) == (
        [(46.1, 7.1), (48.0, 9.0)],
        ["query.jpg", "two.jpg"],
        [["Martigny", "Valais"], []],
    )
    [problem] = problems
    assert "rows.parquet: row 0 (query.jpg): ref_gps[1]:" in problem


def test_reference_without_image_and_unusable_guess(tmp_path):
    images = ["query.jpg", None, "two.jpg"]
    path = write_records(tmp_path / "rows.parquet", record(ref_img_id=images, zs_gps=[[1.0, 2.0], [0.0, 200.0]]))
    [row], problems = read_georanking(path)
    assert row.ref_img_id == ["query.jpg", "two.jpg"]
    assert row.zs_gps == [(1.0, 2.0)]
    assert ["ref_img_id[1]" in problems[0], "zs_gps[1]" in problems[1], len(problems)] == [True, True, 2]


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"gps": [100.0, 0.0]}, "gps: latitude 100.0"),
        ({"gps": None}, "gps: None"),
        ({"img_id": None}, "img_id"),
        ({"ref_img_id": ["query.jpg"]}, "ref_gps 3, ref_img_id 1, ref_texts 3"),
        # Training skips reference 0, so its place may not be taken by another one.
        ({"ref_gps": [[float("nan"), 7.1], [47.0, 8.0], [48.0, 9.0]]}, "ref_gps[0]"),
        ({"ref_img_id": [None, "one.jpg", "two.jpg"]}, "ref_img_id[0]"),
        ({"ref_gps": [], "ref_img_id": [], "ref_texts": []}, "no references"),
    ],
)
def test_a_bad_row_is_named_and_costs_no_other(tmp_path, values, reason):
    path = write_records(tmp_path / "rows.parquet", record(), record(**values), record())
    found, problems = read_georanking(path)
    assert len(found) == 2
    [problem] = problems
    assert problem.startswith(f"{path}: row 1 (")
    assert reason in problem
    assert problem.endswith("row skipped")


# ---- fast reading against plain reading ----

missing = st.none()
numbers = st.one_of(st.floats(-95, 95), st.sampled_from([float("nan"), float("inf"), 90.0, -180.0, 180.5]), missing)
points = st.one_of(st.lists(numbers, max_size=3), coordinates.map(list), coordinates.map(list), missing)
ids = st.one_of(st.sampled_from(["a.jpg", "b.jpg", "é"]), st.sampled_from(["", None]))


def ragged(elements, size):
    """Usually so many elements, and sometimes another number or no list at all."""
    exact = st.lists(elements, min_size=size, max_size=size)
    return st.one_of(exact, exact, exact, st.lists(elements, max_size=3), missing)


@st.composite
def bad_records(draw):
    """Records any part of which may be bad; most have something good in them."""
    size = draw(st.integers(0, 4))
    good = draw(st.booleans())
    point = coordinates.map(list) if good else points
    return {
        "img_id": draw(texts.filter(bool) if good else ids),
        "gps": draw(point),
        "ref_gps": draw(st.lists(point, min_size=size, max_size=size) if good else ragged(point, size)),
        "ref_img_id": draw(ragged(ids.filter(bool) if good else ids, size)),
        "ref_texts": draw(ragged(st.one_of(missing, st.lists(st.one_of(missing, texts), max_size=3)), size)),
        "zs_gps": draw(st.one_of(missing, st.lists(point, max_size=3))),
    }


def is_place(point):
    if point is None or len(point) != 2 or None in point:
        return False
    return not math.isnan(sum(point)) and abs(point[0]) <= 90 and abs(point[1]) <= 180


def plainly(records):
    """Rows, and (row number, column, what happens) of each problem in order; one value at a time."""
    found, problems = [], []
    for number, record in enumerate(records):
        column = why_skipped(record)
        if column is not None:
            problems.append((number, column, "row skipped"))
            continue
        row = GeoRankingRow(record["img_id"], tuple(record["gps"]), [], [], [])
        problems += [(number, column, "reference dropped") for column in add_references(row, record)]
        for i, guess in enumerate(record["zs_gps"] or []):
            if is_place(guess):
                row.zs_gps.append(tuple(guess))
            else:
                problems.append((number, f"zs_gps[{i}]", "guess dropped"))
        found.append(row)
    return found, problems


def why_skipped(record):
    """The column for which a row is skipped, None where it is not."""
    references, images, names = lists(record)
    if not record["img_id"]:
        return "img_id"
    if not is_place(record["gps"]):
        return "gps"
    if len({len(references), len(images), len(names)}) > 1:
        return "lists of different lengths"
    if not references:
        return "no references"
    if not is_place(references[0]):
        return "ref_gps[0]"
    return None if images[0] else "ref_img_id[0]"


def add_references(row, record):
    """Give ``row`` the record's usable references; returns the columns for which others are dropped."""
    dropped = []
    for i, (point, image, names) in enumerate(zip(*lists(record), strict=True)):
        if not is_place(point):
            dropped.append(f"ref_gps[{i}]")
        elif not image:
            dropped.append(f"ref_img_id[{i}]")
        else:
            row.ref_gps.append(tuple(point))
            row.ref_img_id.append(image)
            row.ref_texts.append([name or "" for name in names or []])
    return dropped


def lists(record):
    return [record[name] or [] for name in ("ref_gps", "ref_img_id", "ref_texts")]


number_list = pa.list_(pa.float64())
SCHEMA = pa.schema(
    {
        "img_id": pa.string(),
        "gps": number_list,
        "ref_gps": pa.list_(number_list),
        "ref_img_id": pa.list_(pa.string()),
        "ref_texts": pa.list_(pa.list_(pa.string())),
        "zs_gps": pa.list_(number_list),
    }
)


@settings(deadline=None, max_examples=200)
@given(st.lists(bad_records(), max_size=6))
def test_rows_and_problems_are_those_of_plain_reading(tmp_path_factory, records):
    path = tmp_path_factory.mktemp("georanking") / "rows.parquet"
    pq.write_table(pa.Table.from_pylist(records, schema=SCHEMA), path)
    found, problems = read_georanking(path)
    expected, named = plainly(records)
    assert found == expected
    assert len(problems) == len(named)
    for problem, (number, column, consequence) in zip(problems, named, strict=True):
        assert problem.startswith(f"{path}: row {number} ({records[number]['img_id']}): {column}")
        assert problem.endswith(f"; {consequence}")


def test_rows_beyond_one_batch(tmp_path):
    """The lists of a row begin where those before it end, also when these are of odd lengths."""
    records = [record(img_id=f"{i}", gps=[i % 90, 0.5]) for i in range(3000)]
    for i in range(0, 3000, 7):
        records[i] |= {"ref_img_id": ["only.jpg"]}
    path = write_records(tmp_path / "rows.parquet", *records)
    found, problems = read_georanking(path)
    assert [(row.img_id, row.gps) for row in found] == [(f"{i}", (i % 90, 0.5)) for i in range(3000) if i % 7]
    assert all(row.ref_img_id == ["query.jpg", "one.jpg", "two.jpg"] for row in found)
    assert [problem.split(" ")[2] for problem in problems] == [f"{i}" for i in range(0, 3000, 7)]


float32_pair, large = pa.list_(pa.float32(), 2), pa.large_list
STORED = {
    "fixed size, float32": {"gps": float32_pair, "ref_gps": pa.list_(float32_pair)},
    "integers": {"gps": pa.list_(pa.int16()), "ref_gps": pa.list_(pa.list_(pa.int64()))},
    "large": {
        "img_id": pa.large_string(),
        "gps": large(pa.float64()),
        "ref_gps": large(large(pa.float64())),
        "ref_img_id": large(pa.large_string()),
        "ref_texts": large(large(pa.large_string())),
    },
    "dictionaries": {
        "img_id": pa.dictionary(pa.int32(), pa.string()),
        "ref_img_id": pa.list_(pa.dictionary(pa.int32(), pa.string())),
    },
}


@pytest.mark.parametrize("bad", [False, True])
@pytest.mark.parametrize("name", STORED)
def test_every_way_to_store_a_column(tmp_path, name, bad):
    """As pandas, HF datasets or Arrow write them; extra columns are ignored. Both for clean and for bad rows."""
    whole = record(gps=[46, 7], ref_gps=[[46, 7], [47, 8], [91 if bad else 48, 9]], extra=1)
    stored = {column: STORED[name].get(column, SCHEMA.field(column).type) for column in SCHEMA.names[:5]}
    schema = pa.schema(stored | {"extra": pa.int8()})
    pq.write_table(pa.Table.from_pylist([whole], schema=schema), tmp_path / "rows.parquet")
    [row], problems = read_georanking(tmp_path / "rows.parquet")
    kept = 2 if bad else 3
    assert len(problems) == bad
    assert row == GeoRankingRow(
        "query.jpg",
        (46.0, 7.0),
        [(46.0, 7.0), (47.0, 8.0), (48.0, 9.0)][:kept],
        ["query.jpg", "one.jpg", "two.jpg"][:kept],
        [["Martigny", "Valais"], ["Zürich", "", "NA"], []][:kept],
    )
    assert all(type(degrees) is float for point in [row.gps, *row.ref_gps] for degrees in point)


def test_a_column_of_missing_values_alone(tmp_path):
    path = write_records(tmp_path / "rows.parquet", record(ref_texts=[None] * 3, zs_gps=None))
    [row], problems = read_georanking(path)
    assert (row.ref_texts, row.zs_gps, problems) == ([[], [], []], [], [])
    path = write_records(tmp_path / "rows.parquet", record(ref_gps=None))
    assert len(read_georanking(path)[1]) == 1


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"gps": "[46.1, 7.1]"}, "column gps is string, not list"),
        ({"ref_img_id": [1, 2, 3]}, "column ref_img_id is list<.*int64>, not list"),
        ({"ref_texts": ["a b", "c", "d"]}, "column ref_texts is list<.*string>, not list"),
    ],
)
def test_another_kind_of_column_is_named(tmp_path, values, message):
    path = write_records(tmp_path / "rows.parquet", record(**values))
    with pytest.raises(ValueError, match=rf"rows\.parquet: {message}"):
        read_georanking(path)


def test_no_georanking(tmp_path):
    with pytest.raises(ValueError, match=r"no \.parquet file"):
        read_georanking(tmp_path)
    with pytest.raises(FileNotFoundError, match="absent"):
        read_georanking(tmp_path / "absent.parquet")
    path = tmp_path / "rows.parquet"
    path.write_bytes(b"not parquet at all")
    with pytest.raises(ValueError, match=r"rows\.parquet"):
        read_georanking(path)
    pq.write_table(pa.table({"img_id": ["a"], "gps": [[1.0, 2.0]]}), path)
    with pytest.raises(ValueError, match=r"rows\.parquet: no column ref_gps, ref_img_id, ref_texts"):
        read_georanking(path)


def test_damaged_parquet_names_the_file(tmp_path):
    path = tmp_path / "rows.parquet"
    write_georanking(path, [GeoRankingRow(f"{i}", (1, 2), [(3, 4)], [f"{i}"], [["a"]]) for i in range(500)])
    data = bytearray(path.read_bytes())
    data[4:400] = bytes(396)  # the footer stays intact
    path.write_bytes(data)
    with pytest.raises(ValueError, match=r"rows\.parquet"):
        read_georanking(path)


def test_writing_uneven_lists_names_the_row_and_leaves_the_file(tmp_path):
    path = tmp_path / "rows.parquet"
    write_georanking(path, [])
    before = path.read_bytes()
    with pytest.raises(ValueError, match=r"odd\.jpg: lists of different lengths"):
        write_georanking(path, [GeoRankingRow("odd.jpg", (1, 2), [(1, 2)], ["a", "b"], [[]])])
    assert path.read_bytes() == before


def test_the_snippet_of_the_readme_reads_our_rows(tmp_path, monkeypatch, capsys):
    """``load_dataset`` of the package `datasets`, run as dataset/README.md has it."""
    (snippet,) = re.findall(
        r"^```python\n(.*?)^```", (ROOT / "dataset" / "README.md").read_text(), re.DOTALL | re.MULTILINE
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    written = [
        GeoRankingRow("a.jpg", (1.5, 2.25), [(1.5, 2.25), (0.1, -180.0)], ["a.jpg", "b.jpg"], [["", "Züri"], []]),
        GeoRankingRow("c.jpg", (-90.0, 0.0), [(1 / 3, 7.0)], ["d.jpg"], [["Bern"]], [(46.9, 7.4)]),
    ]
    (path,) = re.findall(r'data_files="(.*?)"', snippet)
    write_georanking(path, written)
    names = {}
    exec(snippet, names)
    for row, expected in zip(names["rows"], written, strict=True):
        assert row == {
            "img_id": expected.img_id,
            "gps": [*expected.gps],
            "ref_gps": [[*point] for point in expected.ref_gps],
            "ref_img_id": expected.ref_img_id,
            "ref_texts": expected.ref_texts,
            "zs_gps": [[*point] for point in expected.zs_gps],
        }
    assert capsys.readouterr().out == "a.jpg [1.5, 2.25] 2\n"
