"""A damaged index finds what the whole one finds, or an error of one line names the file."""

import io
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.damage import cut, nonsense, outcome, with_value
from tests.embeddings import unit_rows
from tests.indexes import write_index
from utils.retrieval import compressed_index
from utils.retrieval.compressed_index import CompressedIndex
from utils.retrieval.exact_index import ExactIndex
from utils.retrieval.gallery import Gallery, add_part
from utils.tables.metadata import ids_hash

PHOTOS, MORE, WIDTH, TOPK = 300, 12, 8, 5
KINDS = ("full", "components", "ivfpq")
QUERIES = unit_rows(4, WIDTH, 1)
JSON = ("index.json", "embeddings.json")
FILES = (*JSON, "embeddings.npy", "index.faiss", "index.npz")
# Other values that change no result: where the encoder lies, and what it was.
ALLOWED = {"model": ("", "x", "\0")}


@pytest.fixture(scope="module")
def indexes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Index folders of each kind, with photos that were added."""
    folder = tmp_path_factory.mktemp("indexes")
    embeddings = unit_rows(PHOTOS + MORE, WIDTH, 0)
    ids = [f"{row}.jpg" for row in range(PHOTOS + MORE)]
    first, more = embeddings[:PHOTOS], embeddings[PHOTOS:]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compressed_index, "MIN_PHOTOS", 256)
        built = {
            "full": ExactIndex.build(first, 0),
            "components": ExactIndex.build(first, 4),
            "ivfpq": CompressedIndex.build(first, 4, reverse=True),
        }
    for kind, index in built.items():
        info = write_index(folder / kind, ids[:PHOTOS], first, index)
        added = write_index(folder / kind / "added-001", ids[PHOTOS:], more, index.another(more))
        add_part(folder / kind, "added-001", replace(added, components=info.components))
    return {kind: folder / kind for kind in KINDS}


def finder(folder: Path) -> Callable[[], list[Any]]:
    def found() -> list[Any]:
        gallery = Gallery(folder)
        rows, scores = gallery.search(QUERIES, TOPK)
        least, _ = gallery.search(QUERIES, TOPK, reverse=True)
        arrays = (rows, scores, least, gallery.cosines(QUERIES, rows))
        return [*(array.tolist() for array in arrays), ids_hash(gallery.metadata["IMG_ID"].tolist())]

    return found


@pytest.fixture(scope="module")
def whole(indexes: dict[str, Path]) -> dict[str, list[Any]]:
    return {kind: finder(folder)() for kind, folder in indexes.items()}


def drawn(data: st.DataObject, indexes: dict[str, Path], names: tuple[str, ...]) -> tuple[str, Path]:
    """Which index, and a file of it or of what was added to it."""
    kind = data.draw(st.sampled_from(KINDS))
    folder = indexes[kind] / data.draw(st.sampled_from((".", "added-001")))
    return kind, folder / data.draw(st.sampled_from(names))


@settings(deadline=None, max_examples=40, derandomize=True)
@given(st.data())
def test_a_wrong_value_is_refused_or_changes_nothing(indexes, whole, data):
    kind, file = drawn(data, indexes, JSON)
    values = json.loads(file.read_text())
    path, value = data.draw(nonsense(values))
    found = outcome(finder(indexes[kind]), file, json.dumps(with_value(values, path, value)))
    assert found in (None, whole[kind])
    assert found is None or value in ALLOWED.get(path[-1], ()) or values[path[-1]] == value


@settings(deadline=None, max_examples=40, derandomize=True)
@given(st.data())
def test_a_cut_file_is_refused_or_changes_nothing(indexes, whole, data):
    kind, file = drawn(data, indexes, FILES)
    found = outcome(finder(indexes[kind]), file, data.draw(cut(file.read_bytes())))
    assert found in (None, whole[kind])
    assert found is None or file.name in JSON


@settings(deadline=None, max_examples=30, derandomize=True)
@given(st.data())
def test_arrays_of_another_kind_are_refused_or_change_nothing(indexes, whole, data):
    kind, file = drawn(data, indexes, ("embeddings.npy", "index.npz"))
    arrays = {"": np.load(file)} if file.suffix == ".npy" else dict(np.load(file))
    name = data.draw(st.sampled_from(sorted(name for name, array in arrays.items() if array.size)))
    array = arrays[name]
    spoilt = {
        "object": array.astype(object),
        "text": array.astype("U8"),
        "complex": array.astype(complex),
        "another type": array.astype(np.float32 if array.dtype != np.float32 else np.int64),
        "longer": np.concatenate([array, array]),
        "shorter": array[:-1],
        "another axis": array[None],
        "empty": array[:0],
        "scalar": array.ravel()[0],
        "negative": -1 - array if array.dtype == np.int64 else np.full_like(array, np.nan),
        "missing": None,
    }
    change = data.draw(st.sampled_from(sorted(spoilt)))
    changed = spoilt[change]
    written = io.BytesIO()
    if file.suffix == ".npy":
        np.save(written, changed if changed is not None else np.empty(0), allow_pickle=True)
    else:
        kept = {key: part for key, part in (arrays | {name: changed}).items() if part is not None}
        np.savez(written, **kept, allow_pickle=True)
    found = outcome(finder(indexes[kind]), file, written.getvalue())
    assert found in (None, whole[kind])
    # An index of components or codes does without the embeddings of photos that nobody finds.
    assert found is None or (kind, file.name, change) == ("components", "embeddings.npy", "negative")


@pytest.mark.parametrize("kind", KINDS)
def test_another_index_of_faiss_is_refused(indexes, kind, tmp_path):
    flat = faiss.IndexFlatIP(WIDTH)
    flat.add(unit_rows(PHOTOS, WIDTH, 0))
    nan = faiss.IndexFlatL2(WIDTH)
    nan.add(np.full((PHOTOS, WIDTH), np.nan, dtype=np.float32))
    short = faiss.IndexFlatL2(WIDTH)
    short.add(unit_rows(PHOTOS - 1, WIDTH, 0))
    mapped = faiss.IndexIDMap(faiss.IndexFlatL2(WIDTH))
    for index in (flat, nan, short, mapped, faiss.IndexFlatL2(WIDTH), faiss.IndexFlatL2(3)):
        faiss.write_index(index, str(tmp_path / "index.faiss"))
        file = indexes[kind] / "index.faiss"
        assert outcome(finder(indexes[kind]), file, (tmp_path / "index.faiss").read_bytes()) is None
