"""A damaged adapter gives the results of the whole one or an error of one line that names the file."""

import json
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save

from tests.cases import random_cases
from tests.damage import cut, nonsense, outcome, with_value
from tests.tiny_models import save_adapter
from utils.calibration import Sources
from utils.candidates import Candidate
from utils.decoding import METHODS
from utils.evaluation.fit_calibration import fit_decoders
from utils.geo_ranker import GeoRanker
from utils.model.adapter import add_lora
from utils.model.adapter_info import AdapterInfo
from utils.model.domain import Domain

CANDIDATES = [Candidate(46.1, 7.1, ("Martigny",)), Candidate(-33.9, 151.2)]
JSON = ("georanker.json", "adapter_config.json")
TENSORS = ("adapter_model.safetensors", "domain.safetensors")
NUMBERS = (-1, -0.5, 0, 0.5)
# Other values that an adapter may have as well, by the last key; those of a list of numbers are any.
ALLOWED = {
    "base_model": ("x", "\0"),
    "min_pixels": (None,),
    "max_pixels": (None, 10**30, 10**400),
    "group_size": (None, 10**30, 10**400),
    "temperature": (0.5,),
    "similarity_weight": (0, 0.5),
    "omit": ([],),
    "candidate_jpeg_quality": (None,),
    "calibration": (None,),
    "domain": (None, "", "x", "\0"),
    "methods": ({},),
    "topn": (0,),
    "topn_zs": (0,),
    "merge_km": (0, 0.5),
    "gallery": (None, "", "x", "\0"),
    "queries": (10**30, 10**400),
}


@pytest.fixture(scope="module")
def adapter(tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An adapter folder with everything that one may have."""
    folder = tmp_path_factory.mktemp("adapter")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        adapted = add_lora(GeoRanker.from_pretrained(tiny_base, device="cpu"), r=2)
        for parameter in adapted.parameters():
            if parameter.requires_grad:
                torch.nn.init.normal_(parameter, std=0.3)
        photos = torch.randn(300, 64)
    cases = random_cases(220)
    decoders = {name: METHODS[name].decoder(temperature=1.0) for name in ("argmax", "consensus")}
    info = AdapterInfo(str(tiny_base), "negatives_first", 128, 512, 7, 1.0, 0.0, candidate_jpeg_quality=80)
    info = replace(info, calibration=fit_decoders(cases, Sources(6, 2, 0.0, "abc"), decoders), domain="noise")
    save_adapter(adapted, folder, info)
    Domain.fit(photos[:200], photos[200:]).save(folder)
    return folder


@pytest.fixture(scope="module")
def read(adapter: Path, tiny_base: Path, make_image) -> Callable[[], tuple[list[float], dict[str, Any]]]:
    """What the adapter says as it lies there: rewards, and all else."""
    photo = make_image(40, 30)
    candidates = [replace(CANDIDATES[0], image=make_image(30, 40, 1)), CANDIDATES[1]]

    def results() -> tuple[list[float], dict[str, Any]]:
        ranker = GeoRanker.from_pretrained(tiny_base, adapter, device="cpu")
        rewards = [place.reward for place in ranker.rank(photo, candidates, candidates)]
        said = json.loads(json.dumps(asdict(ranker.info)))
        return rewards, said | {"knows": ranker.knows(photo)}

    return results


@pytest.fixture(scope="module")
def whole(read) -> tuple[list[float], dict[str, Any]]:
    return read()


def test_the_whole_adapter_is_read_alike_each_time(read, whole):
    assert read() == whole
    assert whole[1]["calibration"] is not None


@settings(deadline=None, max_examples=30, derandomize=True)
@given(st.data())
def test_a_wrong_value_is_refused_or_changes_no_reward(adapter, read, whole, data):
    name = data.draw(st.sampled_from(JSON))
    values = json.loads((adapter / name).read_text())
    path, value = data.draw(nonsense(values))
    found = outcome(read, adapter / name, json.dumps(with_value(values, path, value)))
    allowed = NUMBERS if isinstance(path[-1], int) else ALLOWED.get(path[-1], ())
    if found is not None and name == "georanker.json":
        assert (value, type(value)) in [(other, type(other)) for other in allowed], path
    elif found is not None:
        assert found == whole


@settings(deadline=None, max_examples=20, derandomize=True)
@given(st.data())
def test_a_cut_file_is_refused_or_says_what_it_says(adapter, read, whole, data):
    name = data.draw(st.sampled_from(JSON + TENSORS))
    file = adapter / name
    damaged = data.draw(cut(file.read_bytes()))
    found = outcome(read, file, damaged)
    if found is None:
        return
    assert name in JSON
    before, after = (json.loads(text) for text in (file.read_bytes(), damaged))
    if name == "georanker.json":
        expected = whole[1] | json.loads(json.dumps(asdict(AdapterInfo("x")))) | after
        assert {key: found[1][key] for key in after} == {key: expected[key] for key in after}
    elif all(before[key] == after[key] for key in ("r", "lora_alpha", "target_modules")):
        assert found == whole


@settings(deadline=None, max_examples=20, derandomize=True)
@given(st.data())
def test_tensors_of_another_kind_are_refused(adapter, read, data):
    file = adapter / data.draw(st.sampled_from(TENSORS))
    tensors = load_file(file)
    name = data.draw(st.sampled_from(sorted(tensors)))
    tensor = tensors[name]
    at = data.draw(st.integers(0, tensor.numel() - 1))
    spoilt = {
        **{f"{value}": put(tensor, at, value) for value in (float("nan"), float("inf"), -float("inf"))},
        **{f"{dtype}": tensor.to(dtype) for dtype in (torch.int64, torch.int8, torch.bool, torch.float8_e4m3fn)},
        "complex": tensor.to(torch.complex64),
        "too large": put(tensor.double(), at, 1e300),
        "longer": torch.cat([tensor.reshape(-1), tensor.reshape(-1)]),
        "another axis": tensor[None],
        "empty": tensor.reshape(-1)[:0],
        "missing": None,
    }
    changed = tensors | {name: spoilt[data.draw(st.sampled_from(sorted(spoilt)))]}
    if data.draw(st.integers(0, 5)) == 0:
        changed = tensors | {f"{name}.more": tensor.clone()}
    assert outcome(read, file, save({key: part for key, part in changed.items() if part is not None})) is None


def put(tensor: torch.Tensor, at: int, value: float) -> torch.Tensor:
    copy = tensor.clone()
    copy.view(-1)[at] = value
    return copy
