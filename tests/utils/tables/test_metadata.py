"""Metadata, retrieval and generation tables: exact round trips, and nothing bad that costs its neighbours."""

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from utils.geography.gazetteer import TEXT_COLUMNS
from utils.tables.candidate_table import CandidateRow, write_candidate_table
from utils.tables.generation_table import GenerationRow, read_generation_table, write_generation_table
from utils.tables.metadata import metadata_problems, read_metadata
from utils.tables.retrieval_table import RetrievalRow, read_retrieval_table, write_retrieval_table

latitudes = st.floats(-90, 90)
longitudes = st.floats(-180, 180)
found = st.dictionaries(st.integers(0, 5), st.tuples(latitudes, longitudes), max_size=6)


@pytest.fixture
def write(tmp_path):
    def write(text, encoding="utf-8"):
        path = tmp_path / "table.csv"
        path.write_text(text, encoding=encoding)
        return path

    return write


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


def test_metadata_without_names(write):
    """The query folders of the released system have other columns instead; a spreadsheet adds a BOM."""
    metadata = read_metadata(write("IMG_ID,AUTHOR,LAT,LON\na.jpg,someone,1.5,2.5\n", encoding="utf-8-sig"))
    assert metadata.iloc[0].tolist() == ["a.jpg", 1.5, 2.5, *[""] * 6]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("IMG_ID,LAT\na,1\n", "no column LON"),
        ("", "no column IMG_ID, LAT, LON"),
        ("IMG_ID,LAT,LON\na,1,2\nb,1,2,3\n", "Row #3"),
        ("IMG_ID,LAT,LON\na,1,2\nb,1\n", "Row #3"),
    ],
)
def test_no_metadata(write, text, reason):
    with pytest.raises(ValueError, match=rf"table\.csv: .*{reason}"):
        read_metadata(write(text))


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


RETRIEVAL = (
    "IMG_ID,LAT,LON,candidate_0_gps,candidate_1_gps,candidate_2_gps,reverse_0_gps,reverse_1_gps\n"
    'a@N00.jpg,48.2,16.9,"[47.07, 15.39]","[48.0, 13.0]","[48.5, 13.5]","[33.76, -84.39]","[32.67, -85.37]"\n'
)


def test_released_retrieval_table(write):
    rows, problems = read_retrieval_table(write(RETRIEVAL))
    assert problems == []
    assert rows == [
        RetrievalRow(
            0,
            "a@N00.jpg",
            48.2,
            16.9,
            {0: (47.07, 15.39), 1: (48.0, 13.0), 2: (48.5, 13.5)},
            {0: (33.76, -84.39), 1: (32.67, -85.37)},
        )
    ]


def test_a_candidate_table_is_read_as_a_retrieval_table(tmp_path):
    """The released tables hold what retrieval found; generated places and everything else are left out."""
    path = tmp_path / "im2gps3k.csv"
    gps, names = [(47.07, 15.39), (48.0, 13.0)], [["", "Graz", "", "", "", "Austria"]] * 2
    kept = CandidateRow("a@N00.jpg", 48.2, 16.9, gps, names, ["g0", "g1"], (), [(33.76, -84.39)], [(0, 0)])
    spoiled = CandidateRow("b.jpg", 1.0, 2.0, gps)
    write_candidate_table(path, [kept, spoiled])
    path.write_text(path.read_text().replace('b.jpg,1.0,2.0,"[(47.07, 15.39)', 'b.jpg,1.0,2.0,"[(95.0, 15.39)'))
    rows, problems = read_retrieval_table(path)
    assert rows == [
        RetrievalRow(0, "a@N00.jpg", 48.2, 16.9, dict(enumerate(gps)), {0: (33.76, -84.39)}),
        RetrievalRow(1, "b.jpg", 1.0, 2.0, {1: (48.0, 13.0)}),
    ]
    [problem] = problems
    assert "im2gps3k.csv: row 1 (b.jpg): candidate_gps_lis[0]: latitude 95" in problem


@pytest.mark.parametrize("cell", ["[nan, nan]", "[95.0, 13.0]", "", "nan", "[48.0]", "__import__('os')"])
def test_unusable_retrieval_keeps_the_positions_of_the_others(write, cell):
    [row], problems = read_retrieval_table(write(RETRIEVAL.replace("[48.0, 13.0]", cell)))
    assert row.candidates == {0: (47.07, 15.39), 2: (48.5, 13.5)}
    [problem] = problems
    assert "table.csv: row 0 (a@N00.jpg): candidate_1_gps:" in problem


def test_bad_retrieval_rows_cost_no_other(write):
    rows, problems = read_retrieval_table(
        write(
            "IMG_ID,LAT,LON,candidate_0_gps\n"
            'no truth,,16.9,"[1, 2]"\n'
            'good,1,2,"[3, 4]"\n'
            "no candidate,1,2,\n"
            'too long,1,2,"[3, 4]",5\n'
            'also good,1,2,"[5, 6]"\n'
        )
    )
    # `number` is the row of I.npy, whatever was skipped.
    assert [(row.number, row.img_id, dict(row.candidates)) for row in rows] == [
        (1, "good", {0: (3.0, 4.0)}),
        (4, "also good", {0: (5.0, 6.0)}),
    ]
    skipped = [problem for problem in problems if problem.endswith("row skipped")]
    assert [problem.split(": ")[1] for problem in skipped] == [
        "row 0 (no truth)",
        "row 2 (no candidate)",
        "row 3 (too long)",
    ]


@settings(deadline=None, max_examples=60)
@given(
    st.lists(
        st.tuples(latitudes, longitudes, found.filter(lambda places: 0 in places), found),
        min_size=1,
        max_size=4,
    )
)
def test_retrieval_table_reads_back_exactly(tmp_path_factory, parts):
    path = tmp_path_factory.mktemp("tables") / "retrieval.csv"
    written = [RetrievalRow(number, f"{number}.jpg", *part) for number, part in enumerate(parts)]
    write_retrieval_table(path, written)
    rows, problems = read_retrieval_table(path)
    assert rows == written
    # Of a ragged table each hole is named, but where a row has none of the least similar photos.
    found, least = ([places for places in column] for column in list(zip(*parts, strict=True))[2:])
    width = max(max(places) + 1 for places in found)
    wider = max(width, *(max(places, default=-1) + 1 for places in least))
    assert len(problems) == sum(width - len(places) for places in found) + sum(
        wider - len(places) for places in least if places
    )


def test_retrieval_rows_must_fit_their_numbers(tmp_path):
    with pytest.raises(ValueError, match=r"b: row 2 of I\.npy would be row 1"):
        write_retrieval_table(
            tmp_path / "retrieval.csv",
            [RetrievalRow(0, "a", 0, 0, {0: (1, 2)}), RetrievalRow(2, "b", 0, 0, {0: (1, 2)})],
        )
    assert list(tmp_path.iterdir()) == []


def test_generation_table_round_trip(tmp_path):
    path = tmp_path / "generation.csv"
    answers = ['{"latitude": 1.0,"longitude": 2.0}', "I can't tell, it's \"somewhere\"\nsunny", "ü, 東京"]
    metadata = pd.DataFrame({"IMG_ID": ["007", "b", "c"], "LAT": [0.1 + 0.2, 1 / 3, math.pi], "LON": [1e-7, 2, 3]})
    write_generation_table(path, metadata, {"007": answers, "c": []})
    rows, problems = read_generation_table(path)
    assert rows == [GenerationRow("007", tuple(answers)), GenerationRow("b", ()), GenerationRow("c", ())]
    assert problems == [f"{path}: row 1 (b): response: no answer"]
    # The metadata is still there, to the last bit.
    assert read_metadata(path)[["IMG_ID", "LAT", "LON"]].equals(metadata)


@pytest.mark.parametrize("response", ["None", "", "[unclosed", "open('secret')", "5", '"text"'])
def test_a_query_without_answers_keeps_its_row(write, response):
    cell = response.replace('"', '""')
    rows, problems = read_generation_table(write(f'IMG_ID,response\na,"{cell}"\nb,"[\'yes\']"\n'))
    assert rows == [GenerationRow("a", ()), GenerationRow("b", ("yes",))]
    [problem] = problems
    assert "table.csv: row 0 (a): response" in problem


def test_an_answer_that_is_no_text_is_dropped(write):
    rows, problems = read_generation_table(write("IMG_ID,response\na,\"['yes', None, nan, 'no']\"\n"))
    assert rows == [GenerationRow("a", ("yes", "no"))]
    assert ["response[1]" in problems[0], "response[2]" in problems[1], len(problems)] == [True, True, 2]
