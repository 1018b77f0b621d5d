from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.found import GALLERY, INDICES, SIMILARITY, queries
from utils.tables.join import FoundPhotos, candidate_rows, generated_places


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


def test_cosines_of_geoclip_stand_apart_from_similarities() -> None:
    first, second = candidate_rows(queries(), geoclip=SIMILARITY)
    assert first.geoclip == pytest.approx([0.9, 0.7])
    assert len(second.geoclip) == 3
    assert (first.similarity, first.images, first.texts) == ([], [], [])
    with pytest.raises(ValueError, match="q0: row 0 lies outside"):
        candidate_rows(queries(), geoclip=SIMILARITY[:, :2])


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


def test_only_the_rows_of_the_index_are_needed(tmp_path: Path) -> None:
    GALLERY.to_csv(tmp_path / "gallery.csv", index=False)
    np.save(tmp_path / "I.npy", INDICES[:1])
    photos = FoundPhotos.read(tmp_path / "I.npy", tmp_path / "gallery.csv")
    assert photos.ids.tolist() == ["g1", "g2", "g4"]
    assert candidate_rows(queries()[:1], photos) == candidate_rows(queries()[:1], FoundPhotos.of(INDICES, GALLERY))

    np.save(tmp_path / "I.npy", SIMILARITY)
    with pytest.raises(ValueError, match=r"I\.npy: float32 of shape \(2, 3\), not int64"):
        FoundPhotos.read(tmp_path / "I.npy", tmp_path / "gallery.csv")


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
