"""From folders of photos to an adapter that knows its own kind: smooth pictures, with noise as another kind."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tests.tiny_models import save_adapter
from tools.fit_domain import main
from utils.geo_ranker import GeoRanker
from utils.model.adapter import add_lora
from utils.model.adapter_info import AdapterInfo
from utils.model.fingerprints import fingerprint

WORDS = "smooth pictures"


def smooth(seed: int) -> Image.Image:
    """Four colours that run into each other."""
    corners = np.random.default_rng(seed).integers(0, 256, (2, 2, 3), dtype=np.uint8)
    return Image.fromarray(corners).resize((32, 32), Image.Resampling.BILINEAR)


@pytest.fixture
def adapter(tiny_base, tmp_path) -> Path:
    """An adapter folder; beside it photos/ and others/ with smooth pictures."""
    adapted = add_lora(GeoRanker.from_pretrained(tiny_base, device="cpu"), r=4)
    save_adapter(adapted, tmp_path / "adapter", AdapterInfo(str(tiny_base), "published", 128, 512))
    for name, seeds in (("photos", range(100)), ("others", range(100, 200))):
        (tmp_path / name).mkdir()
        for seed in seeds:
            smooth(seed).save(tmp_path / name / f"{seed}.png")
    return tmp_path / "adapter"


def flags(adapter: Path) -> list[str]:
    photos, others = adapter.parent / "photos", adapter.parent / "others"
    return [str(adapter), "--image_path", str(photos), "--calibration_path", str(others), "--words", WORDS]


def test_an_adapter_knows_what_it_was_calibrated_on(adapter, tiny_base, make_image, capsys):
    info = AdapterInfo.load(adapter)
    rewards_depend_on = fingerprint(str(tiny_base), adapter, info, {})
    assert GeoRanker.from_pretrained(tiny_base, adapter, device="cpu").knows(make_image(32, 32))  # nobody said

    assert main(flags(adapter)) == 0
    answered = capsys.readouterr().out
    assert answered == f"{adapter}/domain.safetensors: fitted on 100 photos, threshold from 100 others\n"
    before = (adapter / "domain.safetensors").read_bytes()
    found = AdapterInfo.load(adapter)
    assert found.domain == WORDS
    assert fingerprint(str(tiny_base), adapter, found, {}) == rewards_depend_on

    ranker = GeoRanker.from_pretrained(tiny_base, adapter, device="cpu")
    assert np.mean([ranker.knows(smooth(seed)) for seed in range(200, 240)]) >= 0.85
    assert not any(ranker.knows(make_image(32, 32, seed)) for seed in range(10))
    assert not ranker.knows(make_image(80, 48))
    # Neither the adapter's limits on the size of photos nor a second pass change it.
    smaller = GeoRanker.from_pretrained(tiny_base, adapter, device="cpu", max_pixels=256)
    scored = [model.domain.scores(torch.zeros(1, 64)).item() for model in (ranker, smaller)]
    assert scored[0] == scored[1]
    assert main(flags(adapter)) == 0
    assert (adapter / "domain.safetensors").read_bytes() == before


def test_a_broken_photo_costs_only_itself(adapter, capsys):
    (adapter.parent / "photos" / "0.png").write_bytes(b"no photo")
    assert main(flags(adapter)) == 1
    answered = capsys.readouterr()
    assert "fitted on 99 photos" in answered.out
    assert "0.png" in answered.err


def test_what_is_too_little_leaves_the_adapter_alone(adapter):
    for path in (adapter.parent / "photos").glob("?.png"):
        path.unlink()
    for path in (adapter.parent / "photos").glob("[2-9]?.png"):
        path.unlink()
    before = json.loads((adapter / "georanker.json").read_text())
    with pytest.raises(SystemExit, match="10 photos are too few: more than 64 are needed"):
        main(flags(adapter))
    assert json.loads((adapter / "georanker.json").read_text()) == before
    assert not (adapter / "domain.safetensors").exists()


def test_words_without_the_file_are_an_error(adapter, tiny_base):
    assert main(flags(adapter)) == 0
    (adapter / "domain.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match=r"domain\.safetensors does not exist"):
        GeoRanker.from_pretrained(tiny_base, adapter, device="cpu")
