from pathlib import Path

import numpy as np
import pytest
from conftest import build_tiny_base

from utils import embedding
from utils.embedding import compute_dtype, embed_photos, fingerprint, gallery_embeddings, load_encoder
from utils.images import ImageStore
from utils.scoring import Processes


@pytest.fixture
def photos(tmp_path: Path, make_image) -> tuple[list[str], ImageStore]:
    """Ids and store of six photos of different sizes; number 2 is no image, number 4 absurdly long."""
    folder = tmp_path / "photos"
    folder.mkdir()
    ids = [f"{number}.png" for number in range(6)]
    for number, name in enumerate(ids):
        make_image(16 + 8 * number, 24, number).save(folder / name)
    (folder / ids[2]).write_bytes(b"no image")
    make_image(801, 4).save(folder / ids[4])
    return ids, ImageStore.from_paths([folder])


def test_unreadable_photos_are_named_and_cost_no_others(photos, tiny_base: Path) -> None:
    ids, store = photos
    encoder = load_encoder(tiny_base)
    embeddings, problems = embed_photos(encoder, ids, store, batch_size=2)
    assert np.isnan(embeddings).all(1).tolist() == [False, False, True, False, True, False]
    for row in (0, 1, 3, 5):
        np.testing.assert_allclose(embeddings[row], encoder.encode([store.open(ids[row])])[0], atol=1e-6)
    assert len(problems) == 2
    assert problems[0].startswith("2.png in ")
    assert problems[1].startswith("4.png: ")
    elsewhere, same = embed_photos(encoder, ids, store, batch_size=2, workers=2)
    np.testing.assert_array_equal(elsewhere, embeddings)
    assert len(same) == 2
    # A batch with nothing readable.
    alone, _ = embed_photos(encoder, ids, store, batch_size=1)
    assert np.isnan(alone).all(1).tolist() == [False, False, True, False, True, False]


def test_a_gallery_is_embedded_once(photos, tiny_base: Path, tmp_path: Path, monkeypatch) -> None:
    ids, store = photos
    folder = tmp_path / "index"
    first, problems = gallery_embeddings(folder, tiny_base, ids, store)
    first = np.array(first)
    with monkeypatch.context() as patch:
        patch.setattr(embedding, "load_encoder", None)  # any use would fail
        again, unreadable = gallery_embeddings(folder, tiny_base, ids, store)
        assert gallery_embeddings(folder, tiny_base, ids, store, processes=Processes(1, 2)) is None
    np.testing.assert_array_equal(again, first)
    assert len(problems) == 2
    assert [problem.split(":")[0] for problem in unreadable] == ["2.png", "4.png"]
    assert sorted(path.name for path in folder.iterdir()) == ["embeddings.json", "embeddings.npy"]

    half, _ = gallery_embeddings(folder, tiny_base, ids, store, storage="float16")
    np.testing.assert_array_equal(half, first.astype(np.float16))

    other = tmp_path / "other"
    build_tiny_base(other, "qwen2_vl", seed=1)
    assert not np.allclose(gallery_embeddings(folder, other, ids, store)[0][0], first[0])
    assert len(gallery_embeddings(folder, other, ids[:3], store)[0]) == 3
    with pytest.raises(ValueError, match="no photos"):
        gallery_embeddings(folder, other, [], store)


def counted(store: ImageStore, monkeypatch, fail_at: int | None = None) -> list[str]:
    """The ids that ``store`` is asked for from now on; the run is interrupted at the given one."""
    asked, original = [], store.open

    def open_photo(image_id: str):
        if len(asked) == fail_at:
            raise KeyboardInterrupt
        asked.append(image_id)
        return original(image_id)

    monkeypatch.setattr(store, "open", open_photo)
    return asked


def test_an_interruption_costs_one_shard(photos, tiny_base: Path, tmp_path: Path, monkeypatch) -> None:
    ids, store = photos
    whole, _ = gallery_embeddings(tmp_path / "whole", tiny_base, ids, store)
    monkeypatch.setattr(embedding, "SHARD", 2)
    folder = tmp_path / "index"
    with monkeypatch.context() as patch:
        asked = counted(store, patch, fail_at=5)
        with pytest.raises(KeyboardInterrupt):
            gallery_embeddings(folder, tiny_base, ids, store, batch_size=2)
    assert asked == ids[:5]
    assert not (folder / "embeddings.npy").exists()
    asked = counted(store, monkeypatch)
    resumed, again = gallery_embeddings(folder, tiny_base, ids, store, batch_size=2)
    assert asked == ids[4:]
    np.testing.assert_allclose(resumed, whole, atol=1e-6)
    assert [problem.split()[0] for problem in again] == ["2.png:", "4.png:"]


def test_shards_of_other_embeddings_are_not_taken(photos, tiny_base: Path, tmp_path: Path, monkeypatch) -> None:
    ids, store = photos
    monkeypatch.setattr(embedding, "SHARD", 2)
    folder = tmp_path / "index"
    with monkeypatch.context() as patch:
        counted(store, patch, fail_at=5)
        with pytest.raises(KeyboardInterrupt):
            gallery_embeddings(folder, tiny_base, ids, store, batch_size=2)
    asked = counted(store, monkeypatch)
    gallery_embeddings(folder, tiny_base, ids[::-1], store, batch_size=2)
    assert asked == ids[::-1]


def test_processes_share_the_shards(photos, tiny_base: Path, tmp_path: Path, monkeypatch) -> None:
    ids, store = photos
    whole, _ = gallery_embeddings(tmp_path / "whole", tiny_base, ids, store)
    monkeypatch.setattr(embedding, "SHARD", 1)
    folder, asked, said = tmp_path / "index", counted(store, monkeypatch), []

    def gather(processes: Processes, value: list[str]) -> list[list[str]] | None:
        said.append(value)
        return said if processes.rank == 0 else None

    monkeypatch.setattr(Processes, "gather", gather)

    assert gallery_embeddings(folder, tiny_base, ids, store, processes=Processes(1, 2)) is None
    assert asked == ids[1::2]
    shared, found = gallery_embeddings(folder, tiny_base, ids, store, processes=Processes(0, 2))
    assert asked == ids[1::2] + ids[::2]
    np.testing.assert_allclose(shared, whole, atol=1e-6)
    assert sorted(problem.split()[0] for problem in found) == ["2.png", "4.png:"]


def test_auto_is_bfloat16_on_a_gpu_only() -> None:
    assert [compute_dtype("auto", device) for device in ("cpu", "cuda", "cuda:3")] == ["auto", "bfloat16", "bfloat16"]
    assert compute_dtype("float32", "cuda") == "float32"


def test_fingerprint_knows_weights_and_preprocessing(tmp_path: Path) -> None:
    def build(name: str, seed: int = 0) -> Path:
        build_tiny_base(tmp_path / name, "qwen2_vl", seed)
        return tmp_path / name

    base = fingerprint(build("base"))
    assert fingerprint(build("same")) == base
    assert fingerprint(build("weights", seed=1)) != base
    resized = build("resized")
    config = resized / "preprocessor_config.json"
    config.write_text(config.read_text().replace("1024", "2048"))
    assert fingerprint(resized) != base
