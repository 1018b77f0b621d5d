import numpy as np
import pytest

from earth.lvlm import data
from earth.lvlm.data import PretrainData


def test_photos_are_taken_once_and_only_reused_for_what_they_show(world, tmp_path, monkeypatch):
    folder, cache = world / "data", tmp_path / "photos.npy"
    taken = PretrainData(folder, cache, num_views=1, seed=0, workers=1)
    monkeypatch.setattr(data, "_take", None)
    again = PretrainData(folder, cache, num_views=1, seed=0, workers=1)
    assert np.array_equal(again.photos, taken.photos)
    assert np.array_equal(again.poses, taken.poses)
    for views, seed in ((2, 0), (1, 1)):
        with pytest.raises(ValueError, match=rf"holds .* 1 views with seed 0, not {views} with seed {seed} of"):
            PretrainData(folder, cache, views, seed, workers=1)
    poses = dict(np.load(tmp_path / "poses.npz"))
    np.savez(tmp_path / "poses.npz", **poses | {"points": poses["points"] + 0.01})
    with pytest.raises(ValueError, match="holds photos of other places"):
        PretrainData(folder, cache, num_views=1, seed=0, workers=1)
