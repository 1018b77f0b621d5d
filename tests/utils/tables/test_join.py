from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from geopy.distance import great_circle

from utils.candidates import Candidate, Query
from utils.geography.gazetteer import TEXT_COLUMNS
from utils.tables.candidate_table import CandidateRow
from utils.tables.join import FoundPhotos, candidate_rows, generated_places
from utils.tables.names import fill_names, name_generated
from utils.tables.retrieval_table import RetrievalRow
from utils.training.rows_of_queries import RankDistances, georanking_rows


def metadata(ids: list[str], points: list[tuple[float, float]]) -> pd.DataFrame:
    """City names follow the id; "g1" has no state."""
    table = pd.DataFrame({"IMG_ID": ids, "LAT": [lat for lat, _ in points], "LON": [lon for _, lon in points]})
    names = [["", f"city {name}", "", "" if name == "g1" else "state", "", "country"] for name in ids]
    return table.join(pd.DataFrame(names, columns=list(TEXT_COLUMNS)))


GALLERY = metadata([f"g{i}" for i in range(5)], [(float(i), 10.0 * i) for i in range(5)])
INDICES = np.array([[4, 1, 2], [0, 3, 1]])
SIMILARITY = np.array([[0.9, 0.8, 0.7], [0.6, 0.5, 0.4]], dtype=np.float32)


def queries() -> list[RetrievalRow]:
    """Of the first query, candidate 1 was unusable."""
    return [
        RetrievalRow(0, "q0", 50.0, 60.0, {0: (4.0, 40.0), 2: (2.0, 20.0)}, {0: (1.0, 10.0)}),
        RetrievalRow(1, "q1", -50.0, -60.0, {0: (0.0, 0.0), 1: (3.0, 30.0), 2: (1.0, 10.0)}),
    ]


def test_candidates_keep_their_photo_names_and_similarity() -> None:
    photos = FoundPhotos.of(INDICES, GALLERY)
    first, second = candidate_rows(queries(), photos, SIMILARITY, {"q1": [(7.0, 8.0)]})
    assert first.gps == [(4.0, 40.0), (2.0, 20.0)]
    assert first.images == ["g4", "g2"]
    assert first.texts == [["", f"city {name}", "", "state", "", "country"] for name in ("g4", "g2")]
    assert first.similarity == pytest.approx([0.9, 0.7])
    assert first.reverse_gps == [(1.0, 10.0)]
    assert first.zs_gps == ()
    assert second.images == ["g0", "g3", "g1"]
    assert second.zs_gps == [(7.0, 8.0)]
    bare = candidate_rows(queries())[1]
    assert (bare.texts, bare.images, bare.similarity) == ([], [], [])


def test_files_that_do_not_belong_together_are_an_error() -> None:
    with pytest.raises(ValueError, match=r"q0: candidate 0 lies at .* do not belong together"):
        candidate_rows(queries(), FoundPhotos.of(INDICES[::-1], GALLERY))
    with pytest.raises(ValueError, match=r"q1: .* row 1 .* shape \(1, 3\)"):
        candidate_rows(queries(), FoundPhotos.of(INDICES[:1], GALLERY))
    with pytest.raises(ValueError, match="q0: candidate 0 is row 4, which the gallery lacks"):
        candidate_rows(queries(), FoundPhotos.of(INDICES, GALLERY[:3]))
    with pytest.raises(ValueError, match="q0: candidate 2 is row -1, which"):
        candidate_rows(queries(), FoundPhotos.of(np.array([[4, 1, -1], [0, 3, 1]]), GALLERY))
    with pytest.raises(ValueError, match="differ in shape"):
        candidate_rows(queries(), FoundPhotos.of(INDICES, GALLERY), SIMILARITY[:1])
    with pytest.raises(ValueError, match="q0: row 0 lies outside"):
        candidate_rows(queries(), similarity=SIMILARITY[:, :2])
    with pytest.raises(ValueError, match="q1 stands in the retrieval table but not"):
        list(georanking_rows(queries(), FoundPhotos.of(INDICES, GALLERY), metadata(["q0"], [(50.0, 60.0)])))


def test_only_the_rows_of_the_index_are_needed(tmp_path: Path) -> None:
    GALLERY.to_csv(tmp_path / "gallery.csv", index=False)
    np.save(tmp_path / "I.npy", INDICES[:1])
    photos = FoundPhotos.read(tmp_path / "I.npy", tmp_path / "gallery.csv")
    assert photos.ids.tolist() == ["g1", "g2", "g4"]
    assert candidate_rows(queries()[:1], photos) == candidate_rows(queries()[:1], FoundPhotos.of(INDICES, GALLERY))

    np.save(tmp_path / "I.npy", SIMILARITY)
    with pytest.raises(ValueError, match=r"I\.npy: float32 of shape \(2, 3\), not integers"):
        FoundPhotos.read(tmp_path / "I.npy", tmp_path / "gallery.csv")


def test_candidates_without_names_get_those_of_the_nearest_place() -> None:
    """A name that is there stays, even beside empty ones; names that the prompt leaves out do not count."""
    known, unnamed = ["", "", "", "", "", "Austria"], ["Altstadt", "", "", "", "Alps", ""]
    rows = [
        CandidateRow("a", 0, 0, [(47.07, 15.44), (48.8566, 2.3522)], [known, unnamed], ["g0", "g1"]),
        CandidateRow("b", 0, 0, [(35.68, 139.77)], zs_gps=[(1, 2)]),
    ]
    (first, second), count = fill_names(rows)
    assert count == 2
    assert first.texts[0] == known
    assert first.texts[1][1::2] == ["Paris", "Île-de-France", "France"]
    assert second.texts[0][5] == "Japan"
    assert (first.images, second.zs_gps) == (["g0", "g1"], [(1, 2)])
    assert fill_names([first, second]) == ([first, second], 0)


def test_generated_candidates_are_named_where_asked() -> None:
    retrieved = Candidate(48.86, 2.35)
    named = Candidate(1.0, 2.0, ("somewhere",), source="generation")
    paris, tokyo = Candidate(48.86, 2.35, source="generation"), Candidate(35.68, 139.69, source="generation")
    before = [Query("a.jpg", (retrieved, paris)), Query("b.jpg", (named, tokyo), negatives=(tokyo,))]
    first, second = name_generated(before)
    assert first.candidates == (retrieved, replace(paris, texts=("Paris", "Île-de-France", "France")))
    assert second.candidates[0] == named
    assert second.candidates[1].texts[-1] == "Japan"
    assert second.negatives == (tokyo,)
    assert name_generated([first, second]) == [first, second]


def test_georanking_starts_with_the_query_itself() -> None:
    own = metadata(["q1", "q0"], [(-50.0, -60.0), (50.0, 60.0)])
    first, second = georanking_rows(queries(), FoundPhotos.of(INDICES, GALLERY), own, {"q1": [(7.0, 8.0)]})
    assert first.gps == (50.0, 60.0)
    assert first.ref_gps == [(50.0, 60.0), (4.0, 40.0), (2.0, 20.0)]
    assert first.ref_img_id == ["q0", "g4", "g2"]
    assert first.ref_texts == [[f"city {name}", "state", "country"] for name in ("q0", "g4", "g2")]
    assert first.zs_gps == []
    assert second.ref_texts[-1] == ["city g1", "country"]
    assert second.zs_gps == [(7.0, 8.0)]

    distances = RankDistances()
    assert list(distances.watch([first, second])) == [first, second]
    medians = distances.medians()
    assert medians[0] == 0
    assert len(medians) == 4
    pairs = [((50, 60), (4, 40)), ((-50, -60), (0, 0))]
    assert medians[1] == pytest.approx(np.mean([great_circle(*pair).km for pair in pairs]), rel=1e-4)


def test_generated_places_are_read_and_counted(tmp_path: Path) -> None:
    path = tmp_path / "generation.csv"
    responses = [
        str(['{"latitude": 1, "longitude": 2}', "no idea", "3.5 N, 4.5 E"]),
        "None",
        str(["(0.0, 0.0)"]),
    ]
    pd.DataFrame({"IMG_ID": ["a", "b", "c"], "response": responses}).to_csv(path, index=False)
    places, unusable, problems = generated_places(path)
    assert places == {"a": [(1, 2), (3.5, 4.5)], "b": [], "c": []}
    assert unusable == 2
    assert len(problems) == 1
    assert "(b)" in problems[0]
