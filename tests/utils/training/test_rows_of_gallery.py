"""Training rows made of a gallery: references against brute force, near-copies, ids and owners."""

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from geopy.distance import great_circle

from utils.retrieval.exact_index import ExactIndex
from utils.retrieval.gallery import Gallery, IndexInfo
from utils.retrieval.gallery_embeddings import EmbeddingInfo
from utils.tables.metadata import ids_hash
from utils.training.rows_of_gallery import CopyRule, ReferenceFinder, choose_queries, gallery_rows, read_owners

PHOTOS, COUNT = 60, 8
USABLE = np.delete(np.arange(PHOTOS), [30, 59])


@pytest.fixture(scope="module", params=[0, 3])
def world(request, tmp_path_factory) -> Gallery:
    """Photos in three crowds of 0.1 km, their embeddings in six; photo 59 has no place, 30 could not be read,
    and the id of 7 and 8 is one.

    Indexed by their full embeddings, and by three principal components.
    """
    folder, rng = tmp_path_factory.mktemp("gallery"), np.random.default_rng(0)
    centres = np.array([(46.0, 7.0), (-16.8, 179.9999), (10.0, 20.0)])[np.arange(PHOTOS) % 3]
    points = centres + rng.normal(0, 5e-4, (PHOTOS, 2))
    embeddings = np.eye(6)[np.arange(PHOTOS) % 6] + rng.normal(0, 0.08, (PHOTOS, 6))
    embeddings = (embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)).astype(np.float32)
    embeddings[30] = np.nan
    metadata = pd.DataFrame({"IMG_ID": [f"g{row}.jpg" for row in range(PHOTOS)]})
    metadata["LAT"], metadata["LON"] = points[:, 0], (points[:, 1] + 180) % 360 - 180
    metadata["city"], metadata["county"], metadata["country"] = "city of " + metadata["IMG_ID"], "no part", "Kenya"
    metadata.loc[8, "IMG_ID"] = metadata.loc[7, "IMG_ID"]
    metadata.loc[59, ["LAT", "LON"]] = np.nan
    metadata.to_csv(folder / "metadata.csv", index=False)
    ids = ids_hash(metadata["IMG_ID"].tolist())
    (folder / "embeddings.json").write_text(json.dumps(asdict(EmbeddingInfo("model", "float32", ids, PHOTOS))))
    np.save(folder / "embeddings.npy", embeddings)
    ExactIndex.build(embeddings, request.param, metadata["LAT"].notna().to_numpy()).save(folder)
    IndexInfo("metadata.csv", "model", "float32", request.param).save(folder)
    return Gallery(folder)


def expected(world: Gallery, query: int, rule: CopyRule, owners: np.ndarray | None = None) -> list[int]:
    """The whole gallery in order of search, one photo at a time."""
    (order,), _ = world.search(world.vectors(np.array([query])), len(USABLE))
    points, ids = world.metadata[["LAT", "LON"]].to_numpy(), world.metadata["IMG_ID"].tolist()
    own, kept = world.vectors(np.array([query]))[0].astype(float), []
    for row, vector in zip(order.tolist(), world.vectors(order), strict=True):
        metres = great_circle(points[query], points[row]).m
        is_copy = metres <= rule.metres and own @ vector >= rule.cosine
        same_owner = owners is not None and owners[row] >= 0 and owners[row] == owners[query]
        if not (is_copy or same_owner or ids[row] == ids[query]):
            kept.append(row)
    return kept


@pytest.mark.parametrize("rule", [CopyRule(), CopyRule(60, 0.9), CopyRule(1e9, 0.9), CopyRule(60, -1)])
def test_references_are_those_of_brute_force(world: Gallery, rule: CopyRule) -> None:
    owners = np.random.default_rng(1).integers(-1, 12, PHOTOS)
    queries = USABLE
    for given in (None, owners):
        found = ReferenceFinder(world, COUNT, rule, given).find(queries)
        for query, rows in zip(queries.tolist(), found, strict=True):
            assert rows.tolist() == expected(world, query, rule, given)[:COUNT]
            assert query not in rows
    assert any(len(expected(world, query, rule)) < len(queries) - 1 for query in queries.tolist())


def test_rows_are_as_released(world: Gallery) -> None:
    problems = []
    finder = ReferenceFinder(world, COUNT, CopyRule())
    rows = list(gallery_rows(finder, np.array([7, 3]), {"g3.jpg": [(1.0, 2.0)]}, problems))
    assert not problems
    assert [row.img_id for row in rows] == ["g7.jpg", "g3.jpg"]
    for query, row in zip((7, 3), rows, strict=True):
        places = world.metadata.loc[[query, *expected(world, query, CopyRule())[:COUNT]]]
        assert row.ref_img_id == places["IMG_ID"].tolist()
        assert row.ref_gps == list(zip(places["LAT"], places["LON"], strict=True))
        assert row.ref_texts == [[city, "Kenya"] for city in places["city"]]
        assert row.gps == row.ref_gps[0]
    assert [row.zs_gps for row in rows] == [[], [(1.0, 2.0)]]


def test_too_few_others_are_named(world: Gallery, monkeypatch) -> None:
    """Everything is a copy of everything but across the crowds: a third is left."""
    monkeypatch.setattr("utils.training.rows_of_gallery.CHUNK", 16)
    problems = []
    finder = ReferenceFinder(world, 45, CopyRule(10_000, -1))
    rows = list(gallery_rows(finder, USABLE, {}, problems))
    assert len(rows) == len(problems) == len(USABLE)
    assert problems[0] == "g0.jpg: 39 references, since all other photos are copies of it"
    problems.clear()
    assert list(gallery_rows(ReferenceFinder(world, 5, CopyRule(1e9, -1)), np.array([4]), {}, problems)) == []
    assert problems == ["g4.jpg: 0 references, since all other photos are copies of it"]


def test_queries_are_chosen_by_seed(world: Gallery, monkeypatch) -> None:
    monkeypatch.setattr("utils.training.rows_of_gallery.CHUNK", 7)
    few, all_of_them = choose_queries(world, 9, 1), choose_queries(world, len(USABLE), 1)
    assert all_of_them[:9].tolist() == few.tolist()
    assert sorted(all_of_them.tolist()) == USABLE.tolist()
    assert any(choose_queries(world, 9, seed).tolist() != few.tolist() for seed in range(2, 5))
    for count in (0, 59):
        with pytest.raises(ValueError, match=f"{count} rows of a gallery with 58"):
            choose_queries(world, count, 0)
    with pytest.raises(ValueError, match="58 references in a gallery with 58"):
        ReferenceFinder(world, 58, CopyRule())


def test_owners(tmp_path: Path) -> None:
    path = tmp_path / "metadata.csv"
    path.write_text('IMG_ID,author,LAT,LON\na,"Ann, B.",1,2\nb,,1,2\nc,Cem,1,2\nd,"Ann, B.",1,2\ne,,1,2\n')
    owners = read_owners([path], "author")
    assert owners[0] == owners[3] != owners[2]
    assert owners.tolist().count(-1) == 2
    assert owners[1] == owners[4] == -1
    (tmp_path / "added.csv").write_text("author,IMG_ID,LAT,LON\nCem,f,1,2\nDee,g,1,2\n")
    together = read_owners([path, tmp_path / "added.csv"], "author")
    assert together[:5].tolist() == owners.tolist()
    assert together[5] == owners[2] != together[6]
    with pytest.raises(ValueError, match=r"metadata\.csv: .*owner"):
        read_owners([path], "owner")
