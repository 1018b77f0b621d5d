from pathlib import Path

from tests.tiny_models import build_tiny_base
from utils.model.fingerprints import weights_hash


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
