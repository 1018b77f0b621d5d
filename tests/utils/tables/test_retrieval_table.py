"""Retrieval tables: exact round trips, and nothing bad that costs its neighbours."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from utils.tables.candidate_table import CandidateRow, write_candidate_table
from utils.tables.retrieval_table import RetrievalRow, read_retrieval_table, write_retrieval_table

latitudes = st.floats(-90, 90)
longitudes = st.floats(-180, 180)
found = st.dictionaries(st.integers(0, 5), st.tuples(latitudes, longitudes), max_size=6)

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
    wider = max((max(places) + 1 for places in least if places), default=0)
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
