"""What is measured: the shipped Earth model, and the shapes of Qwen2-VL; and the files that this takes."""

from collections.abc import Iterable
from pathlib import Path

from utils.data_paths import BENCHMARKS

EARTH = BENCHMARKS["earth"]
EARTH_BASE, EARTH_ADAPTER = EARTH.model, EARTH.model_path
TEST_CANDIDATES = Path(EARTH.candidates.format(split="test"))
TEST_PHOTOS = Path(EARTH.image_path.format(split="test"))
GALLERY_PHOTOS = Path(EARTH.image_data_path)

VISION = {"depth": 32, "embed_dim": 1280, "num_heads": 16, "mlp_ratio": 4, "patch_size": 14}
# As in config.json of Qwen/Qwen2-VL-2B-Instruct and -7B-Instruct. `tiny` is for tests; `small` shows on a CPU how costs
# grow, its tower half as large as its language model, as it is in the 2B model.
SHAPES = {
    "tiny": {
        "text_config": {
            "hidden_size": 64,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "intermediate_size": 128,
            "vocab_size": 3072,
            "bos_token_id": None,
            "eos_token_id": None,
            "rope_parameters": {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [2, 3, 3]},
        },
        "vision_config": {"depth": 2, "embed_dim": 32, "num_heads": 2, "hidden_size": 64, "patch_size": 14},
    },
    "small": {
        "text_config": {
            "hidden_size": 256,
            "num_hidden_layers": 4,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "intermediate_size": 1024,
            "vocab_size": 3072,
            "bos_token_id": None,
            "eos_token_id": None,
            "rope_parameters": {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [8, 12, 12]},
        },
        "vision_config": {"depth": 4, "embed_dim": 192, "num_heads": 3, "hidden_size": 256, "patch_size": 14},
    },
    "2b": {
        "text_config": {
            "hidden_size": 1536,
            "num_hidden_layers": 28,
            "num_attention_heads": 12,
            "num_key_value_heads": 2,
            "intermediate_size": 8960,
            "vocab_size": 151936,
            "rope_parameters": {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [16, 24, 24]},
        },
        "vision_config": VISION | {"hidden_size": 1536},
        "tie_word_embeddings": True,
    },
    "7b": {
        "text_config": {
            "hidden_size": 3584,
            "num_hidden_layers": 28,
            "num_attention_heads": 28,
            "num_key_value_heads": 4,
            "intermediate_size": 18944,
            "vocab_size": 152064,
            "rope_parameters": {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [16, 24, 24]},
        },
        "vision_config": VISION | {"hidden_size": 3584},
    },
}
PRESETS = ("earth", *SHAPES)


def check_shipped() -> None:
    """Raise ``FileNotFoundError`` where the shipped model is not there, of which every preset takes the tokenizer."""
    check((Path(EARTH_BASE), Path(EARTH_ADAPTER)))


def check(paths: Iterable[Path]) -> None:
    """Raise ``FileNotFoundError`` for the first path that does not exist: none of them can be said by a flag."""
    for path in paths:
        path.stat()
