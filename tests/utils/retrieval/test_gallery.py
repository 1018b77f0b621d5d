import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.embeddings import unit_rows
from tests.indexes import write_index
from utils.retrieval import gallery as retrieval
from utils.retrieval.exact_index import ExactIndex
from utils.retrieval.gallery import Gallery, IndexInfo, add_part, retrieval_rows
from utils.retrieval.gallery_embeddings import EmbeddingInfo


@pytest.fixture
def make_gallery(tmp_path: Path) -> Callable[..., Gallery]:
    def make(embeddings: np.ndarray, ids: list[str], components: int = 0) -> Gallery:
        folder = tmp_path / f"{components} {len(ids)}"
        write_index(folder, ids, embeddings, ExactIndex.build(embeddings, components))
        return Gallery(folder)

    return make


@pytest.mark.parametrize("components", [0, 4])
@pytest.mark.parametrize("reverse", [False, True])
def test_parts_are_searched_as_one_gallery(components: int, reverse: bool, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(retrieval, "QUERY_CHUNK", 3)
    embeddings, queries = unit_rows(60, 8, 0), unit_rows(7, 8, 1)
    embeddings[55] = embeddings[5]  # a tie across parts
    queries[0] = embeddings[5]
    embeddings[33] = np.nan
    ids = [f"{row}.jpg" for row in range(60)]
    folder, first = tmp_path / "parts", ExactIndex.build(embeddings[:30], components)
    write_index(folder, ids[:30], embeddings[:30], first)
    for name, rows in (("added-001", slice(30, 50)), ("added-002", slice(50, 60))):
        info = write_index(folder / name, ids[rows], embeddings[rows], first.another(embeddings[rows]))
        add_part(folder, name, replace(info, components=components))
    gallery = Gallery(folder)
    assert gallery.photos == 59
    assert gallery.metadata["IMG_ID"].tolist() == ids
    pd.testing.assert_frame_equal(retrieval.read_metadata(gallery.table), gallery.metadata)

    whole = ExactIndex(np.delete(np.arange(60), 33), first.flat, first.mean, first.components).another(embeddings)
    rows, scores = gallery.search(queries, 25, reverse)
    wanted_rows, wanted_scores = whole.search(queries, 25, reverse)
    np.testing.assert_array_equal(rows, wanted_rows)
    np.testing.assert_array_equal(scores, wanted_scores)
    np.testing.assert_allclose(
        gallery.cosines(queries, rows), np.einsum("md,mkd->mk", queries, embeddings[rows]), atol=1e-6
    )
    with pytest.raises(ValueError, match="topk is 60, but the index holds 59"):
        gallery.search(queries, 60)


def test_an_index_folder_from_before_index_types(make_gallery) -> None:
    folder = make_gallery(unit_rows(9, 4, 0), list("abcdefghi")).table.parent
    (folder / "index.json").write_text('{"gallery": "metadata.csv", "model": "m", "dtype": "auto", "components": 0}')
    assert Gallery(folder).info == IndexInfo("metadata.csv", "m", "auto", 0, "exact", ())
    made_of = json.loads((folder / "embeddings.json").read_text())
    del made_of["storage"]
    (folder / "embeddings.json").write_text(json.dumps(made_of))
    assert EmbeddingInfo.load(folder).storage == "float32"
    metadata = pd.read_csv(folder / "metadata.csv")
    metadata.iloc[::-1].to_csv(folder / "metadata.csv", index=False)
    with pytest.raises(ValueError, match="no longer the gallery"):
        Gallery(folder)


def test_retrieval_rows_name_the_places_found() -> None:
    gallery = pd.DataFrame({"LAT": [1.0, 2.0, 3.0], "LON": [10.0, 20.0, 30.0]})
    queries = pd.DataFrame({"IMG_ID": ["a", "b"], "LAT": [5.0, 6.0], "LON": [7.0, 8.0]}, index=[3, 9])
    rows = retrieval_rows(queries, gallery, np.array([[2, 0], [1, 2]]), np.array([[1], [0]]))
    assert [(row.number, row.img_id, row.latitude, row.longitude) for row in rows] == [
        (0, "a", 5, 7),
        (1, "b", 6, 8),
    ]
    assert [row.candidates for row in rows] == [{0: (3, 30), 1: (1, 10)}, {0: (2, 20), 1: (3, 30)}]
    assert [row.reverse for row in rows] == [{0: (2, 20)}, {0: (1, 10)}]


INDEX = {"gallery": "metadata.csv", "model": "m", "dtype": "auto", "components": 0, "index_type": "exact", "added": []}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"gallery": None}, "gallery cannot be None"),
        ({"gallery": ["metadata.csv"]}, "gallery cannot be"),
        ({"model": 7}, "model cannot be 7"),
        ({"dtype": "int8"}, "dtype is 'int8'"),
        ({"dtype": True}, "dtype cannot be True"),
        ({"components": -1}, "components is -1"),
        ({"components": 2.0}, "components cannot be 2.0"),
        ({"components": "0"}, "components cannot be '0'"),
        ({"components": None}, "components cannot be None"),
        ({"components": 3}, r"components is 3, but index\.npz has 0"),
        ({"components": 10**400}, "components is 1000"),
        ({"index_type": "hnsw"}, "index_type is 'hnsw'"),
        ({"index_type": ["exact"]}, "index_type cannot be"),
        ({"added": "added-001"}, "added cannot be 'added-001'"),
        ({"added": {}}, "added cannot be {}"),
        ({"added": None}, "added cannot be None"),
        ({"added": [1]}, r"added is \[1\]"),
        ({"added": ["../other"]}, r"added is \['../other'\]"),
        ({"added": ["added-002"]}, r"added is \['added-002'\]"),
        ({"added": ["added-001", "added-001"]}, "added is"),
        ({"colour": 1}, "unknown settings colour"),
    ],
)
def test_a_damaged_index_json_is_named(make_gallery, values, message) -> None:
    folder = make_gallery(unit_rows(9, 4, 0), list("abcdefghi")).table.parent
    (folder / "index.json").write_text(json.dumps(INDEX))
    assert Gallery(folder).photos == 9
    (folder / "index.json").write_text(json.dumps(INDEX | values))
    with pytest.raises(ValueError, match=rf"index\.json: {message}"):
        Gallery(folder)
    (folder / "index.json").write_text(json.dumps({name: value for name, value in INDEX.items() if name != "model"}))
    with pytest.raises(ValueError, match=r"index\.json: model is missing"):
        Gallery(folder)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"photos": 0}, "photos is 0"),
        ({"photos": -9}, "photos is -9"),
        ({"photos": 8}, "photos is 8, but .* has 9"),
        ({"photos": "9"}, "photos cannot be '9'"),
        ({"dtype": "float16"}, "dtype is 'float16'"),
        ({"storage": "float64"}, "storage is 'float64'"),
        ({"image_ids": None}, "image_ids cannot be None"),
        ({"colour": 1}, "unknown settings colour"),
    ],
)
def test_a_damaged_embeddings_json_is_named(make_gallery, values, message) -> None:
    folder = make_gallery(unit_rows(9, 4, 0), list("abcdefghi")).table.parent
    made_of = json.loads((folder / "embeddings.json").read_text())
    (folder / "embeddings.json").write_text(json.dumps(made_of | values))
    with pytest.raises(ValueError, match=rf"embeddings\.json: {message}"):
        Gallery(folder)
