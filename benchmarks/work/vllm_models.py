"""Random models of the families that vLLM has, with attention heads that its CPU kernels have (64 wide)."""

from pathlib import Path

import torch
from transformers import (
    AutoTokenizer,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2VLConfig,
    Qwen2VLForConditionalGeneration,
    Qwen2VLImageProcessorPil,
    Qwen3VLConfig,
    Qwen3VLForConditionalGeneration,
)

from benchmarks.presets import EARTH_BASE
from utils.geo_ranker import GeoRanker
from utils.model.adapter import add_lora
from utils.model.adapter_info import AdapterInfo

PIXELS = {"shortest_edge": 3_136, "longest_edge": 100_352}  # at most 128 tokens a photo
TEXT = {
    "hidden_size": 128,
    "intermediate_size": 256,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "max_position_embeddings": 4096,
    "rope_parameters": {"rope_type": "default", "mrope_section": [8, 12, 12], "rope_theta": 1e6},
    "initializer_range": 0.1,  # large enough for rewards to differ
}
VISION = {"depth": 2, "num_heads": 2, "patch_size": 14, "initializer_range": 0.1}
WIDE = VISION | {"hidden_size": 64, "out_hidden_size": 128, "intermediate_size": 128}
FAMILIES = {
    "qwen2_vl": (
        *(Qwen2VLForConditionalGeneration, Qwen2VLConfig),
        *({}, VISION | {"embed_dim": 64, "hidden_size": 128, "mlp_ratio": 2}),
    ),
    "qwen2_5_vl": (
        *(Qwen2_5_VLForConditionalGeneration, Qwen2_5_VLConfig),
        *({}, WIDE | {"window_size": 112, "fullatt_block_indexes": [1]}),
    ),
    "qwen3_vl": (
        *(Qwen3VLForConditionalGeneration, Qwen3VLConfig),
        *({"head_dim": 64}, WIDE | {"num_position_embeddings": 256, "deepstack_visual_indexes": [0, 1]}),
    ),
}


def save_random(folder: Path, family: str) -> tuple[Path, Path]:
    """A base model with Earth's tokenizer, and an adapter of it, below ``folder``: the paths of both."""
    tokenizer = AutoTokenizer.from_pretrained(EARTH_BASE)
    model_class, config_class, text, vision = FAMILIES[family]
    config = config_class(
        text_config=TEXT | text | {"vocab_size": len(tokenizer), "bos_token_id": None, "eos_token_id": None},
        vision_config=vision,
        image_token_id=tokenizer.convert_tokens_to_ids("<|image_pad|>"),
        video_token_id=tokenizer.convert_tokens_to_ids("<|video_pad|>"),
        vision_start_token_id=tokenizer.convert_tokens_to_ids("<|vision_start|>"),
        vision_end_token_id=tokenizer.convert_tokens_to_ids("<|vision_end|>"),
    )
    base, adapter = folder / family, folder / f"{family}-adapter"
    torch.manual_seed(0)
    model_class(config).save_pretrained(base)
    tokenizer.save_pretrained(base)
    Qwen2VLImageProcessorPil(patch_size=14, merge_size=2, size=PIXELS).save_pretrained(base)
    adapted = add_lora(GeoRanker.from_pretrained(base, device="cpu"), r=8)
    for parameter in adapted.parameters():
        if parameter.requires_grad:
            torch.nn.init.normal_(parameter, std=0.1)
    adapted.save_pretrained(str(adapter), save_embedding_layers=False)  # else peft would ask the hub about embeddings
    AdapterInfo(str(base)).save(adapter)
    return base, adapter
