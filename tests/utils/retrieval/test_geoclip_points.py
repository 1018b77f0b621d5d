import errno
import logging
import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from geoclip import LocationEncoder
from safetensors.torch import load_file, save_file
from torch.nn import functional

from tests.tiny_clip import PACKAGE, build_release
from utils.retrieval.geoclip_points import GeoClipPoints


@pytest.fixture
def places(geoclip_release: Path) -> GeoClipPoints:
    return GeoClipPoints.from_pretrained(geoclip_release)


@pytest.fixture
def damaged(geoclip_release: Path, tmp_path: Path) -> Path:
    """A copy of the release, to be damaged."""
    shutil.copytree(geoclip_release, tmp_path / "release")
    return tmp_path / "release"


def test_location_embeddings_are_those_of_the_package() -> None:
    points = np.random.default_rng(0).uniform((-90, -180), (90, 180), (1000, 2))
    with torch.inference_mode():
        wanted = functional.normalize(LocationEncoder()(torch.tensor(points, dtype=torch.float32)), dim=1)
    places = GeoClipPoints.from_pretrained()
    np.testing.assert_allclose(places.encode(points), wanted, atol=1e-5)
    lines = (PACKAGE / "gps_gallery" / "coordinates_100K.csv").read_text().splitlines()[1:]
    assert places.points.tolist() == [list(map(float, line.split(","))) for line in lines]


def test_a_release_of_the_same_weights_shares_the_cache(places, tmp_path) -> None:
    build_release(tmp_path / "whole", 100_000)
    assert GeoClipPoints.from_pretrained(tmp_path / "whole").cache == GeoClipPoints.from_pretrained().cache
    assert places.cache != GeoClipPoints.from_pretrained().cache


def test_points_are_embedded_once(geoclip_release, own_cache, caplog, monkeypatch) -> None:
    """Of several at a time, one does it, and says so; the others wait."""
    monkeypatch.setattr("utils.retrieval.geoclip_points.BATCH", 77)
    caplog.set_level(logging.INFO)
    several = [GeoClipPoints.from_pretrained(geoclip_release) for _ in range(4)]
    with ThreadPoolExecutor() as pool:
        embeddings = list(pool.map(lambda places: places.embeddings, several))
    made = [message for message in caplog.messages if "are embedded, once, and kept in" in message]
    assert len(made) == 1
    assert made[0].startswith("GeoCLIP's 300 points")
    assert [path.suffix for path in own_cache.iterdir()] == [".npy"]
    for other in embeddings:
        np.testing.assert_array_equal(other, embeddings[0])
    np.testing.assert_allclose(embeddings[0], several[0].encode(several[0].points), atol=5e-5)


def test_what_is_kept_is_not_embedded_again(places, geoclip_release, monkeypatch) -> None:
    kept = np.array(places.embeddings)
    monkeypatch.setattr(GeoClipPoints, "encode", None)
    np.testing.assert_array_equal(GeoClipPoints.from_pretrained(geoclip_release).embeddings, kept)


def test_other_weights_or_points_are_embedded_anew(places, damaged) -> None:
    weights = load_file(damaged / "model.safetensors")
    weights["location_encoder.LocEnc0.head.0.bias"] += 0.1
    save_file(weights, damaged / "model.safetensors")
    others = GeoClipPoints.from_pretrained(damaged)
    assert others.cache != places.cache
    assert np.abs(others.embeddings - places.embeddings).max() > 1e-3
    text = (damaged / "points.csv").read_text().splitlines(keepends=True)
    (damaged / "points.csv").write_text("".join([text[0], *text[:0:-1]]))
    assert GeoClipPoints.from_pretrained(damaged).cache not in (others.cache, places.cache)


def test_an_interrupted_embedding_leaves_nothing(places, own_cache, monkeypatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(GeoClipPoints, "encode", interrupt)
        with pytest.raises(KeyboardInterrupt):
            _ = places.embeddings
    assert not list(own_cache.glob("*.npy"))
    assert places.embeddings.shape == (300, 512)


def interrupt(*args) -> None:
    raise KeyboardInterrupt


def test_a_cache_that_cannot_be_written_costs_time_only(places, tmp_path, caplog, monkeypatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    np.testing.assert_allclose(places.embeddings, places.encode(places.points), atol=5e-5)
    assert "file/georanker/geoclip" in caplog.text
    assert "they are embedded anew each time" in caplog.text


def test_a_full_disk_costs_time_only(places, own_cache, caplog, monkeypatch) -> None:
    def full(*args, **options) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(np.lib.format, "write_array", full)
    np.testing.assert_allclose(places.embeddings, places.encode(places.points), atol=5e-5)
    assert f"{places.cache}: No space left on device; GeoCLIP's points are embedded anew each time" in caplog.messages
    assert list(own_cache.iterdir()) == []


@pytest.mark.parametrize("scale", [0.0, 1e30])
def test_weights_that_embed_nothing_are_named_and_nothing_is_kept(damaged, own_cache, scale) -> None:
    weights = load_file(damaged / "model.safetensors")
    for name in weights:
        if name.startswith("location_encoder."):
            weights[name] *= scale
    save_file(weights, damaged / "model.safetensors")
    with pytest.raises(ValueError, match=r"embeddings of GeoCLIP's points, .*: embeddings that are not of length 1"):
        _ = GeoClipPoints.from_pretrained(damaged).embeddings
    assert not list(own_cache.glob("*.npy"))


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1000])


@pytest.mark.parametrize(
    "damage",
    [
        cut,
        lambda path: path.write_bytes(b"no array"),
        lambda path: np.save(path, np.zeros((300, 512), dtype=np.float32)),
        lambda path: np.save(path, np.full((300, 512), np.nan, dtype=np.float32)),
        lambda path: np.save(path, np.ones((299, 512), dtype=np.float32)),
        lambda path: np.save(path, np.ones((300, 512))),
    ],
)
def test_a_damaged_cache_is_named(places, geoclip_release, damage) -> None:
    _ = places.embeddings
    damage(places.cache)
    with pytest.raises(ValueError, match=rf"^{places.cache}: .*: remove the file, and .* embedded anew$") as error:
        _ = GeoClipPoints.from_pretrained(geoclip_release).embeddings
    assert "\n" not in str(error.value)


def test_a_search_finds_what_comparing_with_every_point_finds(places) -> None:
    embeddings = places.encode(np.random.default_rng(1).uniform((-60, -180), (70, 180), (50, 2)))
    rows, similarities = places.search(embeddings, 20)
    cosines = embeddings.astype(np.float64) @ places.embeddings.T.astype(np.float64)
    np.testing.assert_allclose(similarities, -np.sort(-cosines, axis=1)[:, :20], atol=1e-6)
    np.testing.assert_allclose(np.take_along_axis(cosines, rows, 1), similarities, atol=1e-6)
    assert all(len({*found}) == 20 for found in rows.tolist())
    with pytest.raises(ValueError, match="topk is 301, but GeoCLIP has 300 points"):
        places.search(embeddings, 301)


def test_a_point_that_is_given_twice_is_found_in_the_order_of_the_table(damaged) -> None:
    lines = (damaged / "points.csv").read_text().splitlines(keepends=True)
    (damaged / "points.csv").write_text("".join([*lines, lines[1]]))
    places = GeoClipPoints.from_pretrained(damaged)
    assert places.search(places.embeddings[300:], 2)[0].tolist() == [[0, 300]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("LAT,LON\n", "it has no points"),
        ("LAT,LNG\n1,2\n", r".*\['LON'\]"),
        ("LAT,LON\n1,2\n91,0\n", r"row 1: LAT, LON: \[91\.0, 0\.0\] is not a coordinate"),
        ("LAT,LON\n1,\n", r"row 0: LAT, LON: \[1\.0, nan\] is not a coordinate"),
        ("LAT,LON\n1,east\n", ".*east"),
        ("", "No columns to parse from file"),
    ],
)
def test_damaged_points_are_named(damaged, text, message) -> None:
    (damaged / "points.csv").write_text(text)
    with pytest.raises(ValueError, match=rf"points\.csv: {message}") as error:
        GeoClipPoints.from_pretrained(damaged)
    assert "\n" not in str(error.value)


def test_damaged_weights_are_named(damaged) -> None:
    path = damaged / "model.safetensors"
    weights = load_file(path)
    missing = weights.pop("location_encoder.LocEnc2.head.0.bias")
    weights["location_encoder.LocEnc3.head.0.bias"] = missing
    save_file(weights, path)
    wanted = r"model\.safetensors does not fit .*missing tensors .*LocEnc2\.head.*unexpected tensors .*LocEnc3\.head"
    with pytest.raises(ValueError, match=wanted):
        GeoClipPoints.from_pretrained(damaged)
    weights["location_encoder.LocEnc3.head.0.bias"] = missing * torch.nan
    save_file(weights, path)
    with pytest.raises(ValueError, match=r"model\.safetensors: tensor location_encoder\.LocEnc3.* no numbers"):
        GeoClipPoints.from_pretrained(damaged)
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(ValueError, match=r"model\.safetensors: "):
        GeoClipPoints.from_pretrained(damaged)
    path.unlink()
    with pytest.raises(FileNotFoundError, match=r"release is no release of GeoCLIP: it has no model\.safetensors"):
        GeoClipPoints.from_pretrained(damaged)
