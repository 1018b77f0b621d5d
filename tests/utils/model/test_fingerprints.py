from pathlib import Path

import huggingface_hub
import pytest
from huggingface_hub.errors import LocalEntryNotFoundError

from tests.tiny_models import build_tiny_base
from utils.model.adapter_info import DOMAIN_FILENAME, AdapterInfo
from utils.model.fingerprints import fingerprint, model_folder, settings_hash, weights_hash


def test_fingerprint_knows_weights_and_preprocessing(tmp_path: Path) -> None:
    def build(name: str, seed: int = 0) -> Path:
        build_tiny_base(tmp_path / name, "qwen2_vl", seed)
        return tmp_path / name

    base = weights_hash(build("base"))
    assert weights_hash(build("same")) == base
    assert weights_hash(build("weights", seed=1)) != base
    resized = build("resized")
    config = resized / "preprocessor_config.json"
    config.write_text(config.read_text().replace("1024", "2048"))
    assert weights_hash(resized) != base


def test_a_model_that_cannot_be_had_is_named_in_one_line(monkeypatch) -> None:
    with pytest.raises(ValueError, match=r"^model no//name: it is no folder here, and the hub did not .*: Repo id"):
        model_folder("no//name")

    def unreachable(*_: object, **__: object) -> str:
        raise LocalEntryNotFoundError("Got: ConnectError\nAn error happened")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", unreachable)
    with pytest.raises(ValueError, match=r"^model a/b: it is no .* give it: Got: ConnectError An error happened$"):
        weights_hash("a/b")


def test_settings_and_domain_are_known_and_weights_are_not(tmp_path: Path) -> None:
    hashes = [settings_hash(tmp_path)]
    AdapterInfo("base").save(tmp_path)
    hashes.append(settings_hash(tmp_path))
    (tmp_path / DOMAIN_FILENAME).write_bytes(b"a threshold")
    hashes.append(settings_hash(tmp_path))
    (tmp_path / DOMAIN_FILENAME).write_bytes(b"another one")
    hashes.append(settings_hash(tmp_path))
    assert len(set(hashes)) == 4
    (tmp_path / "adapter_model.safetensors").write_bytes(b"weights")
    assert settings_hash(tmp_path) == hashes[-1]


def test_what_candidates_photos_are_limited_to_is_part_of_what_scores(tmp_path: Path) -> None:
    """An adapter without the limit is what it was before there was one: its logs stay valid."""
    plain, limited = (
        fingerprint("base", tmp_path, AdapterInfo("base", candidate_max_pixels=limit), {}) for limit in (None, 256)
    )
    assert plain != limited
    assert "candidate_max_pixels" not in plain
