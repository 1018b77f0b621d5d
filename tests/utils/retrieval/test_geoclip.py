"""Against the package geoclip itself."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from geoclip import GeoCLIP
from safetensors.torch import load_file, save_file

from tests.tiny_clip import build_tiny_clip
from utils.retrieval.embedding import embed_photos
from utils.retrieval.geoclip import GeoClip

POINTS, TOPK = 300, 20


@pytest.fixture(scope="module")
def theirs(tiny_clip: Path) -> GeoCLIP:
    """The package's own model, with as many of its points as ``release`` has."""
    model = GeoCLIP(clip_path=str(tiny_clip)).eval()
    model.gps_gallery = model.gps_gallery[:POINTS]
    return model


@pytest.fixture
def ours(geoclip_release: Path, tiny_clip: Path) -> GeoClip:
    return GeoClip.from_pretrained(geoclip_release, clip=tiny_clip)


def test_the_best_points_are_those_of_the_package(theirs, ours, make_image, tmp_path) -> None:
    photos = [make_image(*size, seed) for seed, size in enumerate([(32, 32), (70, 40), (33, 90), (300, 200)])]
    rows, similarities = ours.search(ours.encode(photos), TOPK)
    assert len({*rows[:, 0]}) > 1  # the photos differ
    for photo, found, cosines in zip(photos, rows, similarities, strict=True):
        photo.save(tmp_path / "photo.png")
        points, probabilities = theirs.predict(tmp_path / "photo.png", TOPK)
        np.testing.assert_allclose(ours.points[found], points, atol=1e-5)
        logits = theirs.forward(theirs.image_encoder.preprocess_image(photo), theirs.gps_gallery).detach()[0]
        np.testing.assert_allclose(cosines, (logits / theirs.logit_scale.exp().detach())[found], atol=1e-5)
        np.testing.assert_allclose(logits.softmax(0)[found], probabilities, atol=1e-5)


def test_photos_are_prepared_as_by_the_package(theirs, ours, make_image) -> None:
    photo = make_image(61, 47, 5)
    (pixels,) = ours.image_processor(photo, return_tensors="pt").values()
    assert torch.equal(pixels, theirs.image_encoder.preprocess_image(photo))


def test_the_hubs_own_settings_are_understood(geoclip_release, tiny_clip, theirs, make_image, tmp_path) -> None:
    """preprocessor_config.json of openai/clip-vit-large-patch14 is of older days."""
    shutil.copytree(tiny_clip, tmp_path / "clip")
    written = {"crop_size": 32, "do_center_crop": True, "do_normalize": True, "do_resize": True, "size": 32}
    written |= {"feature_extractor_type": "CLIPFeatureExtractor", "resample": 3}
    written |= {"image_mean": [0.48145466, 0.4578275, 0.40821073], "image_std": [0.26862954, 0.26130258, 0.27577711]}
    (tmp_path / "clip" / "preprocessor_config.json").write_text(json.dumps(written))
    processor = GeoClip.from_pretrained(geoclip_release, clip=tmp_path / "clip").image_processor
    photo = make_image(61, 47, 5)
    (pixels,) = processor(photo, return_tensors="pt").values()
    assert torch.equal(pixels, theirs.image_encoder.preprocess_image(photo))


def test_positions_that_older_transformers_saved_as_well_change_nothing(
    geoclip_release, tiny_clip, ours, make_image, tmp_path
) -> None:
    """So are the weights of openai/clip-vit-large-patch14 on the hub."""
    shutil.copytree(tiny_clip, tmp_path / "clip")
    weights = load_file(tiny_clip / "model.safetensors")
    for tower in ("text_model", "vision_model"):
        positions = len(weights[f"{tower}.embeddings.position_embedding.weight"])
        weights[f"{tower}.embeddings.position_ids"] = torch.arange(positions)[None]
    save_file(weights, tmp_path / "clip" / "model.safetensors", {"format": "pt"})
    photo = make_image(40, 30)
    found = GeoClip.from_pretrained(geoclip_release, clip=tmp_path / "clip").encode([photo])
    np.testing.assert_array_equal(found, ours.encode([photo]))


def test_many_photos_are_embedded_as_a_gallery_is(ours, make_image, tmp_path) -> None:
    from utils.photos.store import ImageStore

    photos = [make_image(40, 30, seed) for seed in range(3)]
    for number, photo in enumerate(photos):
        photo.save(tmp_path / f"{number}.png")
    store = ImageStore.from_paths([str(tmp_path)])
    embeddings, problems = embed_photos(ours, ["0.png", "1.png", "2.png", "absent.png"], store, batch_size=2)
    assert len(problems) == 1
    assert embeddings.shape == (4, ours.dimension)
    np.testing.assert_allclose(embeddings[:3], ours.encode(photos), atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(embeddings[:3], axis=1), 1, atol=1e-6)


def test_the_package_is_the_default(tiny_clip) -> None:
    ours = GeoClip.from_pretrained(clip=tiny_clip)
    assert ours.points.shape == (100_000, 2)
    assert len(ours.table) == 100_000


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"model_type": "siglip"}, "model_type is 'siglip': GeoCLIP needs a 'clip'"),
        ({"projection_dim": 512}, "projection_dim is 512: GeoCLIP needs 768"),
    ],
)
def test_another_clip_is_refused(geoclip_release, tiny_clip, tmp_path, settings, message) -> None:
    shutil.copytree(tiny_clip, tmp_path / "clip")
    config = json.loads((tiny_clip / "config.json").read_text())
    (tmp_path / "clip" / "config.json").write_text(json.dumps(config | settings))
    with pytest.raises(ValueError, match=rf"clip/config\.json: {message}"):
        GeoClip.from_pretrained(geoclip_release, clip=tmp_path / "clip")


def test_a_damaged_clip_is_named(geoclip_release, tmp_path) -> None:
    build_tiny_clip(tmp_path / "clip")
    path = tmp_path / "clip" / "model.safetensors"
    weights = load_file(path)
    del weights["visual_projection.weight"]
    save_file(weights, path, {"format": "pt"})
    with pytest.raises(
        ValueError, match=r"clip does not fit CLIPModel .*missing tensors \['visual_projection\.weight'\]"
    ):
        GeoClip.from_pretrained(geoclip_release, clip=tmp_path / "clip")
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(ValueError, match=r"model\.safetensors: "):
        GeoClip.from_pretrained(geoclip_release, clip=tmp_path / "clip")
    with pytest.raises(FileNotFoundError, match=r"absent does not exist: the folder of a CLIP checkpoint"):
        GeoClip.from_pretrained(geoclip_release, clip=tmp_path / "absent")


def test_weights_that_embed_nothing_give_no_points(geoclip_release, tiny_clip, make_image, tmp_path) -> None:
    shutil.copytree(geoclip_release, tmp_path / "release")
    path = tmp_path / "release" / "model.safetensors"
    own = {name: tensor * 1e30 if ".mlp." in name else tensor for name, tensor in load_file(path).items()}
    save_file(own, path)  # each of them a number, but what comes out is none
    geoclip = GeoClip.from_pretrained(tmp_path / "release", clip=tiny_clip)
    with pytest.raises(ValueError, match="embeddings that are not of length 1"):
        geoclip.encode([make_image(32, 32)])
