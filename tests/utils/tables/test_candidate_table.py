"""The candidate table, against a miniature of the released file."""

import ast
import csv
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from utils.candidates import Candidate, Query
from utils.tables.candidate_table import CandidateRow, read_candidate_table, write_candidate_table

# The released im2gps3k.csv in small: its columns, in its order and notation, with seven candidates a row.
RELEASED_COLUMNS = ["IMG_ID", "LAT", "LON", "candidate_gps_lis", "candidate_text_lis", "candidate_img_lis"]
RELEASED_COLUMNS += ["reverse_gps_lis", "reverse_text_lis", "reverse_img_lis", "zs_gps_lis"]
GPS = [
    (46.1, 7.07),
    (44.173955, 6.697883),
    (47.0, 8.5),
    (45.9, 6.87),
    (46.02, 7.75),
    (46.5, 7.9),
    (43.7, 7.2),
]
TEXTS = [
    ["", "Martigny", "", "Valais", "", "Switzerland"],
    ["", "Allos", "Castellane", "Provence-Alpes-Côte d'Azur", "", "France"],
    ["Altstadt", "", "", "Schwyz", "Central", "Switzerland"],
    ["", "NA", "", "None", "", "nan"],
    ["", "", "", "", "", ""],
    ['"Quoted", with a comma', "City; with, signs", "", "", "", "Schweiz/Suisse/Svizzera"],
    ["", "Nice", "", "", "", "France"],
]
IMAGES = [f"{i:02x}_{i:02x}_{i}.jpg" for i in range(7)]
ZS = [(46.2, 7.1), (0, 0), (45.0, -7.5)]


def released_row(**cells: str) -> dict[str, str]:
    row = {
        "IMG_ID": "103433117_266c57c2e6_29_73293249@N00.jpg",
        "LAT": "46.167286",
        "LON": "7.099698",
        "candidate_gps_lis": str(GPS),
        "candidate_text_lis": str(TEXTS),
        "candidate_img_lis": str(IMAGES),
        "reverse_gps_lis": "[(33.760105, -84.398753), (32.678913, -85.379348)]",
        "reverse_text_lis": "[['', 'Atlanta', '', 'Georgia', '', 'United States'], ['', '', '', '', '', '']]",
        "reverse_img_lis": "['ff_00_1.jpg', 'ff_00_2.jpg']",
        "zs_gps_lis": str(ZS),
    }
    return row | cells


def write_released(path, *rows, columns=RELEASED_COLUMNS):
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)
    return path


@pytest.fixture
def table(tmp_path):
    return lambda *rows, **kwargs: write_released(tmp_path / "im2gps3k.csv", *rows, **kwargs)


def places(candidates):
    return [(candidate.latitude, candidate.longitude) for candidate in candidates]


def test_released_table(table):
    [query], problems = read_candidate_table(table(released_row()), topn=3, topn_zs=2)
    assert problems == []
    assert query == Query(
        image="103433117_266c57c2e6_29_73293249@N00.jpg",
        candidates=(
            Candidate(46.1, 7.07, ("Martigny", "Valais", "Switzerland"), IMAGES[0]),
            Candidate(44.173955, 6.697883, ("Allos", "Provence-Alpes-Côte d'Azur", "France"), IMAGES[1]),
            Candidate(47.0, 8.5, ("Schwyz", "Switzerland"), IMAGES[2]),
            Candidate(46.2, 7.1, source="generation"),
            Candidate(0.0, 0.0, source="generation"),
        ),
        negatives=(
            Candidate(47.0, 8.5, ("Schwyz", "Switzerland"), IMAGES[2]),
            Candidate(45.9, 6.87, ("NA", "None", "nan"), IMAGES[3]),
            Candidate(46.02, 7.75, (), IMAGES[4]),
            Candidate(46.5, 7.9, ("City; with, signs", "Schweiz/Suisse/Svizzera"), IMAGES[5]),
            Candidate(43.7, 7.2, ("Nice", "France"), IMAGES[6]),
        ),
        latitude=46.167286,
        longitude=7.099698,
    )


@pytest.mark.parametrize("topn", [0, 1, 7, 20])
@pytest.mark.parametrize("topn_zs", [1, 20])
@pytest.mark.parametrize("num_negatives", [0, 2, 5, 9])
def test_selection(table, topn, topn_zs, num_negatives, monkeypatch):
    monkeypatch.setattr("utils.tables.candidate_table.NUM_NEGATIVES", num_negatives)
    [query], problems = read_candidate_table(table(released_row()), topn, topn_zs)
    assert places(query.candidates) == GPS[:topn] + ZS[:topn_zs]
    assert places(query.negatives) == [GPS[i] for i in range(7) if i >= 7 - num_negatives]
    assert problems == []


def test_one_query_alone_is_what_it_is_among_the_others(table):
    rows = [released_row(), released_row(IMG_ID="b.jpg", zs_gps_lis="[(nan, 7.0), (46.0, 7.0)]")]
    path = table(*rows, released_row(IMG_ID="c.jpg", LAT="north"))
    queries, problems = read_candidate_table(path, topn=5, topn_zs=2)
    assert [query.image for query in queries][1:] == ["b.jpg"]
    assert len(problems) == 2
    alone = [read_candidate_table(path, topn=5, topn_zs=2, only=row["IMG_ID"]) for row in rows]
    assert [query for found, _ in alone for query in found] == queries
    assert [problem for _, own in alone for problem in own] == [
        problem for problem in problems if "c.jpg" not in problem
    ]
    assert read_candidate_table(path, topn=5, topn_zs=2, only="c.jpg")[0] == []
    assert read_candidate_table(path, topn=5, topn_zs=2, only="nowhere.jpg") == ([], [])


def test_near_duplicates_give_their_slot_to_the_next(table):
    """The second guess lies 3 km from a retrieved candidate that is only taken when the list is long enough."""
    gps = [(46.0, 7.0), (46.001, 7.0), (46.0, 7.001), (48.0, 9.0), (10.0, 10.0)]
    cells = {
        "candidate_gps_lis": str(gps),
        "candidate_text_lis": "",
        "candidate_img_lis": "",
        "zs_gps_lis": str([(46.002, 7.0), (48.03, 9.0), (48.03, 9.0), (1.0, 1.0)]),
    }
    path = table(released_row(**cells))

    def read(topn, topn_zs, merge_km):
        [query], problems = read_candidate_table(path, topn, topn_zs, merge_km=merge_km)
        assert problems == []
        assert places(query.negatives) == gps
        return places(query.candidates)

    assert read(2, 2, 0) == [*gps[:2], (46.002, 7.0), (48.03, 9.0)]
    assert read(2, 2, 0.3) == [gps[0], gps[3], (48.03, 9.0), (1.0, 1.0)]
    assert read(1, 1, 5) == [gps[0], (48.03, 9.0)]
    assert read(2, 1, 5) == [gps[0], gps[3], (1.0, 1.0)]
    assert read(9, 9, 5) == [gps[0], gps[3], gps[4], (1.0, 1.0)]


def test_numbers_stand_as_written(table):
    """The prompt prints them: `46.10` of a table is 46.1. An ID that looks like a number keeps its zeros."""
    path = table(released_row(IMG_ID="007", LAT="46.10", candidate_gps_lis=str([(0.1 + 0.2, -1e-7)] * 7)))
    [query], _ = read_candidate_table(path, 1, 0)
    assert query.image == "007"
    assert f"{query.latitude} {query.candidates[0].latitude} {query.candidates[0].longitude}" == (
        "46.1 0.30000000000000004 -1e-07"
    )


def test_only_the_coordinates_are_required(table):
    columns = ["IMG_ID", "LAT", "LON", "candidate_gps_lis"]
    [query], problems = read_candidate_table(table(released_row(), columns=columns), 2, 3)
    assert query.candidates == (Candidate(46.1, 7.07), Candidate(44.173955, 6.697883))
    assert problems == []


@pytest.mark.parametrize("missing", ["IMG_ID", "LAT", "LON", "candidate_gps_lis"])
def test_missing_column_names_file_and_column(table, missing):
    path = table(released_row(), columns=[column for column in RELEASED_COLUMNS if column != missing])
    with pytest.raises(ValueError, match=rf"im2gps3k\.csv: no column {missing}"):
        read_candidate_table(path, 2, 2)


@pytest.mark.parametrize(
    "point", ["(nan, 7.0)", "(46.0, inf)", "(90.1, 7.0)", "(46.0, -181.0)", "'here'", "(1,)", "None"]
)
def test_unusable_coordinate_drops_its_candidate(table, point, monkeypatch):
    monkeypatch.setattr("utils.tables.candidate_table.NUM_NEGATIVES", 6)
    gps = str(GPS).replace("(44.173955, 6.697883)", point)
    [query], problems = read_candidate_table(table(released_row(candidate_gps_lis=gps)), 2, 0)
    # The texts and images of the others stay theirs.
    assert query.candidates == (
        Candidate(46.1, 7.07, ("Martigny", "Valais", "Switzerland"), IMAGES[0]),
        Candidate(47.0, 8.5, ("Schwyz", "Switzerland"), IMAGES[2]),
    )
    assert [negative.image for negative in query.negatives] == IMAGES[:1] + IMAGES[2:]
    [problem] = problems
    assert all(
        word in problem
        for word in (
            "im2gps3k.csv",
            "row 0",
            "103433117_266c57c2e6_29_73293249@N00.jpg",
            "candidate_gps_lis[1]",
        )
    )


@pytest.mark.parametrize("cell", ["nan", "None", "NaN", ""])
def test_a_cell_without_a_value_is_an_empty_list(table, cell):
    columns = ("zs_gps_lis", "candidate_text_lis", "candidate_img_lis")
    [query], problems = read_candidate_table(table(released_row(**dict.fromkeys(columns, cell))), topn=2, topn_zs=2)
    assert (query.candidates, problems) == ((Candidate(*GPS[0]), Candidate(*GPS[1])), [])


def test_a_list_that_numpy_wrote(table):
    points = [tuple(map(np.float64, point)) for point in GPS]
    assert "np.float64(46.1)" in str(points)
    found = read_candidate_table(table(released_row(candidate_gps_lis=str(points))), 7, 2)
    assert found == read_candidate_table(table(released_row()), 7, 2)


def test_a_lone_surrogate_costs_its_candidate(table):
    """A text that no file and no tokenizer takes."""
    texts, images = [list(names) for names in TEXTS], list(IMAGES)
    texts[0][1], images[1] = "\ud83d", "\udcff.jpg"
    row = released_row(candidate_text_lis=ascii(texts), candidate_img_lis=ascii(images))
    [query], problems = read_candidate_table(table(row), topn=7, topn_zs=0)
    assert places(query.candidates) == GPS[2:]
    assert ["candidate_text_lis[0]" in problems[0], "candidate_img_lis[1]" in problems[1]] == [True, True]
    assert "".join(problems).isascii()


def test_unusable_guess_is_dropped(table):
    row = released_row(zs_gps_lis="[(nan, nan), (46.0, 7.0), '[45.5, 8.5]', 'somewhere']")
    [query], problems = read_candidate_table(table(row), 0, 5)
    assert places(query.candidates) == [(46.0, 7.0), (45.5, 8.5)]
    assert ["zs_gps_lis[0]" in problems[0], "zs_gps_lis[3]" in problems[1], len(problems)] == [True, True, 2]


@pytest.mark.parametrize(
    ("column", "cell"),
    [
        ("candidate_text_lis", str([*TEXTS[:6], ["Nice", "France"]])),
        ("candidate_text_lis", str([*TEXTS[:6], ["", 5, "", "", "", ""]])),
        ("candidate_img_lis", str([*IMAGES[:6], None])),
        ("candidate_similarity_lis", "[.9, .8, .7, .6, .5, .4, nan]"),
    ],
)
def test_unusable_part_drops_its_candidate(table, column, cell):
    path = table(released_row(**{column: cell}), columns=[*RELEASED_COLUMNS, "candidate_similarity_lis"])
    [query], problems = read_candidate_table(path, 20, 0)
    assert places(query.candidates) == GPS[:6]
    assert len(problems) == 1
    assert f"{column}[6]" in problems[0]


@pytest.mark.parametrize(
    ("cells", "reason"),
    [
        ({"LAT": "nan"}, "LAT, LON"),
        ({"LAT": ""}, "LAT, LON"),
        ({"LON": "180.5"}, "LAT, LON"),
        ({"LON": "7.1°"}, "LAT, LON"),
        ({"IMG_ID": ""}, "IMG_ID"),
        (
            {"candidate_gps_lis": "[]", "candidate_text_lis": "", "candidate_img_lis": "", "zs_gps_lis": ""},
            "no usable",
        ),
        ({"candidate_gps_lis": str([(99, 0)] * 7), "zs_gps_lis": "[]"}, "no usable"),
        ({"candidate_gps_lis": "[(1.0, 2.0"}, "candidate_gps_lis"),
        ({"candidate_gps_lis": "__import__('os').getcwd()"}, "candidate_gps_lis"),
        ({"candidate_text_lis": "5"}, "candidate_text_lis"),
        (
            {"candidate_img_lis": str(IMAGES[:6])},
            "candidate_gps_lis 7, candidate_text_lis 7, candidate_img_lis 6",
        ),
        ({"candidate_text_lis": "[]"}, "candidate_text_lis 0"),
        ({"zs_gps_lis": "(" * 5000}, "zs_gps_lis"),
    ],
)
def test_a_bad_row_is_named_and_costs_no_other(table, cells, reason):
    good = released_row(IMG_ID="good.jpg")
    queries, problems = read_candidate_table(table(good, released_row(**cells), good), 3, 2)
    assert [query.image for query in queries] == ["good.jpg", "good.jpg"]
    assert all("im2gps3k.csv: row 1 (" in problem for problem in problems)
    assert reason in problems[-1]
    assert problems[-1].endswith("row skipped")


def test_rows_of_wrong_width(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text(
        "IMG_ID,LAT,LON,candidate_gps_lis\n"
        'long,1.0,2.0,"[(3.0, 4.0)]",surplus\n'
        "short,1.0\n"
        'good,1.0,2.0,"[(3.0, 4.0)]"\n'
    )
    queries, problems = read_candidate_table(path, 1, 0)
    assert [query.image for query in queries] == ["good"]
    assert ["(long): more cells" in problems[0], "(short): LAT, LON" in problems[1]] == [True, True]


def test_not_a_table(tmp_path):
    path = tmp_path / "photo.csv"
    path.write_bytes(b"\xff\xd8\xff\xe0 not text")
    with pytest.raises(ValueError, match=r"photo\.csv"):
        read_candidate_table(path, 1, 0)


latitudes = st.floats(-90, 90)
longitudes = st.floats(-180, 180)
coordinates = st.tuples(latitudes, longitudes)
names = st.text(st.characters(codec="utf-8"), max_size=8) | st.sampled_from(["NA", "nan", "None", "'", '"'])
# File names: neither NUL nor a carriage return, which CSV would take for the end of a line.
img_ids = st.text(st.characters(codec="utf-8", exclude_characters="\0\r"), min_size=1, max_size=8)


@st.composite
def rows(draw):
    gps = draw(st.lists(coordinates, min_size=1, max_size=8))
    each = {"min_size": len(gps), "max_size": len(gps)}
    return CandidateRow(
        img_id=draw(img_ids),
        latitude=draw(latitudes),
        longitude=draw(longitudes),
        gps=gps,
        texts=draw(st.lists(st.lists(names, min_size=6, max_size=6), **each) | st.just(())),
        images=draw(st.lists(img_ids, **each) | st.just(())),
        similarity=draw(st.lists(st.floats(-1, 1), **each) | st.just(())),
        reverse_gps=draw(st.lists(coordinates, max_size=3)),
        zs_gps=draw(st.lists(coordinates, max_size=3)),
    )


@settings(deadline=None, max_examples=60)
@given(st.lists(rows(), max_size=3))
def test_written_tables_read_back_exactly(tmp_path_factory, written):
    path = tmp_path_factory.mktemp("tables") / "table.csv"
    write_candidate_table(path, written)
    queries, problems = read_candidate_table(path, 8, 3)
    assert problems == []
    for row, query in zip(written, queries, strict=True):
        retrieved = tuple(
            Candidate(
                *point,
                texts=tuple(row.texts[i][k] for k in (1, 3, 5) if row.texts[i][k]) if row.texts else (),
                image=row.images[i] if row.images else None,
                similarity=row.similarity[i] if row.similarity else None,
            )
            for i, point in enumerate(row.gps)
        )
        generated = tuple(Candidate(*point, source="generation") for point in row.zs_gps)
        assert query == Query(row.img_id, retrieved + generated, retrieved[-5:], row.latitude, row.longitude)


def test_the_written_columns_are_the_released_ones(tmp_path):
    """Every cell is a literal for code without our reader; columns that no row fills are left out."""
    path = tmp_path / "table.csv"
    released = [column for column in RELEASED_COLUMNS if column not in ("reverse_text_lis", "reverse_img_lis")]
    full = CandidateRow("a", 1.0, 2.0, GPS, TEXTS, IMAGES, (), [(3, 4)], ZS)
    bare = CandidateRow("b", 1.0, 2.0, GPS)
    write_candidate_table(path, [full])
    table = pd.read_csv(path)
    assert list(table) == released
    literals = table.loc[0, released[3:]].map(ast.literal_eval).tolist()
    assert literals == [GPS, TEXTS, IMAGES, [(3, 4)], ZS]
    write_candidate_table(path, [bare])
    assert path.read_text() == (
        f'IMG_ID,LAT,LON,candidate_gps_lis,reverse_gps_lis,zs_gps_lis\nb,1.0,2.0,"{GPS}",[],[]\n'
    )
    write_candidate_table(path, [replace(bare, similarity=[0.5] * len(GPS))])
    assert list(pd.read_csv(path)) == [
        *RELEASED_COLUMNS[:4],
        "reverse_gps_lis",
        "zs_gps_lis",
        "candidate_similarity_lis",
    ]


def test_numpy_numbers_are_written_as_literals(tmp_path):
    row = CandidateRow("a", np.float64(1.5), np.float32(2.5), np.array([[3.25, 4.125]]), similarity=np.array([0.5]))
    write_candidate_table(tmp_path / "table.csv", [row])
    [query], problems = read_candidate_table(tmp_path / "table.csv", 1, 0)
    assert problems == []
    assert query.candidates == (Candidate(3.25, 4.125, similarity=0.5),)


def test_writing_uneven_lists_names_the_row_and_leaves_the_file(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("as it was")
    with pytest.raises(ValueError, match=r"odd\.jpg: .*candidate_gps_lis 2, candidate_img_lis 1"):
        write_candidate_table(path, [CandidateRow("odd.jpg", 0, 0, [(1, 2), (3, 4)], images=["a"])])
    assert path.read_text() == "as it was"


def test_points_of_geoclip_are_ranked_as_guesses_are(tmp_path):
    """No photo, no names, no negative examples; their cosine is none of two photos."""
    row = CandidateRow("q.jpg", 1.0, 2.0, GPS, geoclip=[0.3, 0.2, 0.1, 0.0, -0.1, -0.2, -0.3], zs_gps=[(5.0, 6.0)])
    write_candidate_table(tmp_path / "points.csv", [row])
    (query,), problems = read_candidate_table(tmp_path / "points.csv", topn=3, topn_zs=1)
    assert not problems
    assert query.negatives == ()
    assert [(c.source, c.geoclip) for c in query.candidates] == [
        ("geoclip", 0.3),
        ("geoclip", 0.2),
        ("geoclip", 0.1),
        ("generation", None),
    ]
    assert all((c.image, c.texts, c.similarity) == (None, (), None) for c in query.candidates)


def test_gallery_photos_stay_such_with_a_cosine_of_geoclip(tmp_path):
    row = CandidateRow("q.jpg", 1.0, 2.0, GPS[:2], images=IMAGES[:2], similarity=[0.9, 0.8], geoclip=[0.1, 0.2])
    write_candidate_table(tmp_path / "photos.csv", [row])
    (query,), _ = read_candidate_table(tmp_path / "photos.csv", topn=2, topn_zs=0)
    assert [(c.source, c.similarity, c.geoclip) for c in query.candidates] == [
        ("retrieval", 0.9, 0.1),
        ("retrieval", 0.8, 0.2),
    ]
    assert query.negatives == query.candidates


@pytest.mark.parametrize("cell", ["[0.1, 'a']", "[0.1, nan]"])
def test_an_unusable_cosine_of_geoclip_costs_its_candidate(tmp_path, cell):
    path = tmp_path / "table.csv"
    path.write_text(f'IMG_ID,LAT,LON,candidate_gps_lis,candidate_geoclip_lis\nq.jpg,1,2,"[(3, 4), (5, 6)]","{cell}"\n')
    (query,), (problem,) = read_candidate_table(path, topn=2, topn_zs=0)
    assert [candidate.latitude for candidate in query.candidates] == [3]
    assert "candidate_geoclip_lis[1]: " in problem
