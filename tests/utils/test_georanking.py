"""GeoRanking parquet: exact round trip, the released columns, and references that cannot be used."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from utils import georanking
from utils.georanking import GeoRankingRow, read_georanking, write_georanking

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
