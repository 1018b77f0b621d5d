"""What an adapter was calibrated on; tests/tools/test_fit_domain.py goes the whole way."""

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from sklearn.decomposition import PCA

from utils.model.domain import Domain, describe_photos

WIDTH = 8


@pytest.fixture(scope="module")
def photos() -> torch.Tensor:
    """(300, WIDTH) descriptions with correlations, three directions being nearly constant."""
    random = np.random.default_rng(0)
    mixing = np.linalg.qr(random.normal(size=(WIDTH, WIDTH)))[0]
    scales = np.array([5.0, 3, 2, 1, 0.5, 0.05, 0.02, 0.01])
    return torch.tensor(random.normal(size=(300, WIDTH)) * scales @ mixing + 4, dtype=torch.float32)


@pytest.fixture(scope="module")
def domain(photos) -> Domain:
    return Domain.fit(photos[:200], photos[200:])


def test_a_description_is_mean_and_deviation_of_the_stock_towers_tokens(ranker, make_image):
    photos = [make_image(32, 32, 1), make_image(32, 32, 2)]
    described = describe_photos(ranker.backbone, ranker.packer, photos)
    for photo, found in zip(photos, described, strict=True):
        shown = ranker.packer.image_processor(
            images=photo.resize((64, 64), Image.Resampling.BICUBIC), size={"shortest_edge": 4096, "longest_edge": 4096}
        )
        grid = torch.as_tensor(np.array(shown["image_grid_thw"]))
        assert grid.tolist() == [[1, 16, 16]]
        with torch.no_grad():
            output = ranker.backbone.get_image_features(torch.as_tensor(np.array(shown["pixel_values"])), grid)
        (tokens,) = output.pooler_output
        tokens = tokens.numpy().astype(np.float64)
        assert tokens.shape == (64, 32)
        expected = np.concatenate([tokens.mean(0), tokens.std(0, ddof=1)])
        np.testing.assert_allclose(found.numpy(), expected, rtol=1e-4, atol=1e-5)


def test_size_and_aspect_play_no_part(ranker, make_image):
    photo = make_image(3, 3).resize((32, 32), Image.Resampling.BICUBIC)
    wide, high = make_image(60, 32, 5), make_image(32, 50, 6)
    wide.paste(photo, (14, 0))
    high.paste(photo, (0, 9))
    large = photo.resize((128, 128), Image.Resampling.BICUBIC)
    described = describe_photos(ranker.backbone, ranker.packer, [photo, wide, high, large])
    assert torch.equal(described[0], described[1])
    assert torch.equal(described[0], described[2])
    other = describe_photos(ranker.backbone, ranker.packer, [make_image(3, 3, 7).resize((32, 32))])[0]
    assert (described[0] - described[3]).norm() < 0.1 * (described[0] - other).norm()


def test_scores_are_those_of_the_last_principal_components(photos, domain):
    pca = PCA(svd_solver="full").fit(photos[:200].double().numpy())
    components = pca.transform(photos[200:].double().numpy())[:, WIDTH // 2 :]
    expected = (components**2 / pca.explained_variance_[WIDTH // 2 :]).sum(1)
    np.testing.assert_allclose(domain.scores(photos[200:]).numpy(), expected, rtol=1e-3)
    assert domain.threshold == pytest.approx(np.quantile(expected, 0.98), rel=1e-3)
    assert sum(not domain.holds(photo[None]) for photo in photos[200:]) == 2  # of 100


def test_what_deviates_where_photos_do_not_is_unlike_them(photos, domain):
    directions = torch.linalg.svd(photos - photos.mean(0))[2]  # the last row is that of least variance
    assert domain.holds(photos.mean(0, keepdim=True))
    assert domain.holds(photos.mean(0, keepdim=True) + 20 * directions[:1])
    assert not domain.holds(photos.mean(0, keepdim=True) + 0.2 * directions[-1:])


def test_directions_without_any_variance_do_not_blow_up(photos):
    constant = torch.cat([photos, torch.full((len(photos), 2), 3.0)], dim=1)
    domain = Domain.fit(constant[:200], constant[200:])
    assert domain.directions.isfinite().all()
    assert domain.holds(constant[200:201])
    assert not domain.holds(constant[200:201] + torch.tensor([0.0] * WIDTH + [1.0, 0.0]))


def test_too_few_photos_are_refused(photos):
    with pytest.raises(ValueError, match="8 photos are too few: more than 8 are needed"):
        Domain.fit(photos[:8], photos[200:])
    with pytest.raises(ValueError, match="49 photos for the threshold are too few: 50 are needed"):
        Domain.fit(photos[:200], photos[:49])


def test_a_domain_survives_saving(photos, domain, tmp_path):
    domain.save(tmp_path)
    loaded = Domain.load(tmp_path, WIDTH // 2)
    assert torch.equal(loaded.scores(photos), domain.scores(photos))
    assert loaded.threshold == pytest.approx(domain.threshold, rel=1e-6)
    assert [path.name for path in tmp_path.iterdir()] == ["domain.safetensors"]


def test_damaged_files_are_named(domain, tmp_path):
    path = tmp_path / "domain.safetensors"
    with pytest.raises(FileNotFoundError, match=r"domain\.safetensors does not exist"):
        Domain.load(tmp_path, WIDTH // 2)
    domain.save(tmp_path)
    with pytest.raises(ValueError, match=r"domain\.safetensors has tensors .*of another model\?"):
        Domain.load(tmp_path, WIDTH)
    tensors = load_file(path)
    save_file(tensors | {"mean": torch.full((WIDTH,), torch.nan)}, path)
    with pytest.raises(ValueError, match=r"domain\.safetensors: tensor mean has values that are no numbers"):
        Domain.load(tmp_path, WIDTH // 2)
    save_file({"mean": tensors["mean"]}, path)
    with pytest.raises(ValueError, match=r"domain\.safetensors has tensors \{'mean': \(8,\)\}"):
        Domain.load(tmp_path, WIDTH // 2)
    domain.save(tmp_path)
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(ValueError, match=r"domain\.safetensors: "):
        Domain.load(tmp_path, WIDTH // 2)
