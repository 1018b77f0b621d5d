"""Metadata tables: exact numbers, and nothing bad that costs its neighbours."""

import csv

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from utils.geography.gazetteer import TEXT_COLUMNS
from utils.tables.metadata import metadata_problems, read_column, read_metadata, read_whole_metadata

latitudes = st.floats(-90, 90)
longitudes = st.floats(-180, 180)


def test_metadata_keeps_every_row_and_every_name(write):
    path = write(
        "IMG_ID,LAT,LON,neighbourhood,city,county,state,region,country,url\n"
        "001,46.10,7.0,NA,None,nan,null,,Namibia,x\n"
        "1e5,0.1,-180,,,,,,,x\n"
        "bad,91,0,a,b,c,d,e,f,x\n"
        "empty,,0,,,,,,,x\n"
        "text,here,0,,,,,,,x\n"
        "nan,nan,0,,,,,,,x\n"
        "last,-90,180,,,,,,,x\n"
    )
    metadata = read_metadata(path)
    assert list(metadata) == ["IMG_ID", "LAT", "LON", *TEXT_COLUMNS]
    assert metadata["IMG_ID"].tolist() == ["001", "1e5", "bad", "empty", "text", "nan", "last"]
    assert metadata.loc[0, list(TEXT_COLUMNS)].tolist() == ["NA", "None", "nan", "null", "", "Namibia"]
    assert metadata.loc[1, list(TEXT_COLUMNS)].tolist() == [""] * 6
    assert metadata[["LAT", "LON"]].dropna().to_numpy().tolist() == [
        [46.1, 7.0],
        [0.1, -180.0],
        [-90.0, 180.0],
    ]
    # Half a coordinate is none.
    assert metadata.loc[2:5, ["LAT", "LON"]].isna().to_numpy().all()
    assert metadata_problems(path, metadata) == [
        f"{path}: row {row} ({name}): LAT, LON: not a coordinate"
        for row, name in [(2, "bad"), (3, "empty"), (4, "text"), (5, "nan")]
    ]


def test_line_ends_of_old_macs(write):
    assert read_metadata(write("IMG_ID,LAT,LON,city\ra,1,2,Rome\rb,3,4,Bern\r"))["city"].tolist() == ["Rome", "Bern"]


def test_metadata_without_names(write):
    """The query folders of the released system have other columns instead; a spreadsheet adds a BOM."""
    metadata = read_metadata(write("IMG_ID,AUTHOR,LAT,LON\na.jpg,someone,1.5,2.5\n", encoding="utf-8-sig"))
    assert metadata.iloc[0].tolist() == ["a.jpg", 1.5, 2.5, *[""] * 6]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("IMG_ID,LAT\na,1\n", "no column LON"),
        ("", "no column IMG_ID, LAT, LON; it is empty"),
        ("IMG_ID,LAT,LON\n", "it has a header, but no rows"),
        ("IMG_ID,LAT,LON", "it has a header, but no rows"),
        ("IMG_ID,lat,Latitude,LON\na,1,2,3\n", "columns lat and Latitude may both be LAT: keep one of them"),
        ("id;x;y\na;1;2\n", "no column IMG_ID, LAT, LON; it has id, x, y"),
        ("IMG_ID,LAT,LON\na,1,2\nb,1,2,3\n", "Row #3"),
        ("IMG_ID,LAT,LON\na,1,2\nb,1\n", "Row #3"),
        ("IMG_ID,LAT,LAT,LON\na,1,2,3\n", "columns LAT and LAT may both be LAT: keep one of them"),
    ],
)
@pytest.mark.parametrize("read", [read_metadata, read_whole_metadata])
def test_no_metadata(write, read, text, reason):
    with pytest.raises(ValueError, match=rf"table\.csv: .*{reason}"):
        read(write(text))


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize(("lat", "lon"), [("lat", "lng"), ("Latitude", "LONGITUDE"), (" LAT", "long"), ("LAT", "Lon")])
def test_coordinates_under_other_names(write, delimiter, lat, lon):
    text = f"{lon},IMG_ID,{lat},city\n2.5,a.jpg,1.5,Aosta\n".replace(",", delimiter)
    assert read_metadata(write(text)).iloc[0, :5].tolist() == ["a.jpg", 1.5, 2.5, "", "Aosta"]
    assert read_whole_metadata(write(text)).to_dict("list") == {
        lon: ["2.5"],
        "IMG_ID": ["a.jpg"],
        lat: ["1.5"],
        "city": ["Aosta"],
    }
    assert read_column(write(text), "city").tolist() == ["Aosta"]


def test_of_two_columns_with_names_the_first_counts(write):
    assert read_metadata(write("IMG_ID,LAT,LON,city,city\na,1,2,Aosta,Nice\n"))["city"].tolist() == ["Aosta"]


def test_the_released_names_come_first(write):
    table = read_metadata(write("IMG_ID,latitude,LAT,LON,lon\na,9,1.5,2.5,9\n"))
    assert table[["LAT", "LON"]].to_numpy().tolist() == [[1.5, 2.5]]


def test_decimal_commas_are_read_where_they_can_be_nothing_else(write):
    text = "IMG_ID;LAT;LON\na;48,85;-2\nb;;2,5\nc;-1,5;+0,25\nd;1,2,3;0\n"
    metadata = read_metadata(write(text))
    assert metadata[["LAT", "LON"]].dropna().to_numpy().tolist() == [[48.85, -2], [-1.5, 0.25]]
    assert metadata["LAT"].isna().tolist() == [False, True, False, True]
    # With a point anywhere, a comma may group thousands.
    assert read_metadata(write(text + "e;1.5;2\n"))["LAT"].dropna().tolist() == [1.5]
    assert read_metadata(write('IMG_ID,LAT,LON\na,"48,85",2\n'))["LAT"].isna().all()


def test_bytes_that_are_no_text_are_named(tmp_path):
    path = tmp_path / "metadata.csv"
    path.write_bytes(b"IMG_ID,LAT,LON,city\na,1,2,b\nb,1,2,Orl\xe9ans\n")
    for read in (read_metadata, read_whole_metadata):
        with pytest.raises(ValueError, match=r"metadata\.csv: .*Row #3.*: save the file as UTF-8"):
            read(path)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(latitudes, longitudes), min_size=1, max_size=20))
def test_metadata_numbers_are_exact(tmp_path_factory, points):
    path = tmp_path_factory.mktemp("tables") / "metadata.csv"
    path.write_text("IMG_ID,LAT,LON\n" + "".join(f"a,{latitude!r},{longitude!r}\n" for latitude, longitude in points))
    assert read_metadata(path)[["LAT", "LON"]].to_numpy().tolist() == [list(point) for point in points]


NAMES = st.text(st.characters(codec="utf-8", exclude_characters="\0\r"), max_size=5)


@settings(deadline=None, max_examples=60)
@given(st.lists(NAMES, min_size=1, max_size=30), st.sets(st.integers(-2, 40)))
def test_wanted_rows_are_those_of_the_whole_table(tmp_path_factory, names, wanted):
    path = tmp_path_factory.mktemp("tables") / "metadata.csv"
    pd.DataFrame({"IMG_ID": range(len(names)), "LAT": 1.5, "LON": 2, "city": names}).to_csv(path, index=False)
    whole = read_metadata(path)
    assert whole["city"].tolist() == names
    some = read_metadata(path, np.array(sorted(wanted), dtype=np.int64))
    pd.testing.assert_frame_equal(some, whole.loc[sorted(wanted & set(range(len(names))))], check_index_type=False)


def test_wanted_rows_beyond_the_first_block(tmp_path):
    """pyarrow reads a file in blocks of 1 MiB; this one has three."""
    path = tmp_path / "metadata.csv"
    path.write_text("IMG_ID,LAT,LON\n" + "".join(f"photo_{i:06d},1,{i / 1000}\n" for i in range(150_000)))
    wanted = np.array([0, 70_000, 149_999, 150_000])
    rows = read_metadata(path, wanted)
    assert rows["IMG_ID"].to_dict() == {i: f"photo_{i:06d}" for i in wanted[:3]}
    assert rows["LON"].tolist() == [0, 70, 149.999]
    with open(path, "a") as file:
        file.write("short,1\n")
    with pytest.raises(ValueError, match=r"metadata\.csv: .*Row #150002"):
        read_metadata(path, wanted)


CELLS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=5)
ROWS = st.lists(st.lists(CELLS, min_size=6, max_size=6), min_size=1, max_size=8)


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.lists(CELLS, min_size=6, max_size=6), min_size=1, max_size=8), st.lists(CELLS, min_size=3, max_size=3)
)
def test_the_whole_table_is_what_the_csv_module_reads(tmp_path_factory, rows, names):
    """Any column, also two of one name, and any cell."""
    path = tmp_path_factory.mktemp("tables") / "metadata.csv"
    header = [names[0], "LON", names[1], "IMG_ID", "LAT", names[2]]
    with open(path, "w", encoding="utf-8", newline="") as file:
        csv.writer(file, quoting=csv.QUOTE_ALL).writerows([header, *rows])
    assume(not set(names) & {"IMG_ID", "LAT", "LON"})
    table = read_whole_metadata(path)
    assert list(table) == header
    assert table.to_numpy().tolist() == rows


@pytest.mark.parametrize("megabytes", [2, 20])
def test_a_row_may_be_of_any_length(write, megabytes):
    long = "x" * (megabytes << 20)
    path = write(f"IMG_ID,LAT,LON,city,note\na,1,2,Rome,\nb,3,4,Bern,{long}\nc,5,6,Lima,\n")
    assert read_metadata(path)[["IMG_ID", "LAT", "city"]].to_numpy().tolist() == [
        ["a", 1.0, "Rome"],
        ["b", 3.0, "Bern"],
        ["c", 5.0, "Lima"],
    ]
    assert read_metadata(path, np.array([2]))["IMG_ID"].to_dict() == {2: "c"}
    assert read_whole_metadata(path)["note"].tolist() == ["", long, ""]
