"""The models that are measured: the shipped Earth model, or random weights in the shapes of Qwen2-VL.

Speed and memory follow from shapes, so no weights are downloaded. The tokenizer of the hub's checkpoints is not at
hand either: texts are tokenized by Earth's, and ``benchmarks/inputs.py`` gives them the lengths they have with Qwen2's.
"""

import torch
from torch import nn
from transformers import (
    AutoModel,
    AutoModelForImageTextToText,
    AutoTokenizer,
    PreTrainedModel,
    Qwen2VLConfig,
    Qwen2VLImageProcessorPil,
)

from benchmarks.flex import FlexRanker
from benchmarks.presets import EARTH_ADAPTER, EARTH_BASE, SHAPES
from utils.geo_ranker import GeoRanker
from utils.model.adapter_info import AdapterInfo
from utils.model.packing import Packer
from utils.model.prompts import Layout
from utils.model.rope_index import rope_index

PIXELS = {"shortest_edge": 3_136, "longest_edge": 12_845_056}  # Qwen2-VL's limits of a photo


def load_ranker(
    preset: str,
    layout: Layout,
    *,
    dtype: torch.dtype,
    device: torch.device | str,
    attention: str = "sdpa",
    candidate_max_pixels: int | None = None,
    layers: int | None = None,
) -> GeoRanker:
    """A ranker of a preset, in evaluation mode; on the device "meta" it has shapes, but no weights.

    ``layers`` cuts language model and tower of a shape of Qwen2-VL to as many.

    Earth's adapter is merged into its weights, as inference in float32 has it.
    """
    device = torch.device(device)
    make, attention = (FlexRanker, "sdpa") if attention == "flex_attention" else (GeoRanker, attention)
    if preset == "earth" and device.type != "meta":
        return make.from_pretrained(
            EARTH_BASE,
            EARTH_ADAPTER,
            layout=layout,
            dtype=dtype,
            device=device,
            attn_implementation=attention,
            candidate_max_pixels=candidate_max_pixels,
            merge=True,
        )
    tokenizer = AutoTokenizer.from_pretrained(EARTH_BASE)
    if preset == "earth":
        config = Qwen2VLConfig.from_pretrained(EARTH_BASE)
        processor = Qwen2VLImageProcessorPil.from_pretrained(EARTH_BASE)
    else:
        image_token, video_token = tokenizer.convert_tokens_to_ids(["<|image_pad|>", "<|video_pad|>"])
        config = Qwen2VLConfig(**SHAPES[preset], image_token_id=image_token, video_token_id=video_token)
        if layers is not None:
            config.text_config.num_hidden_layers = config.vision_config.depth = layers
            config.text_config.layer_types = config.text_config.layer_types[:layers]
        processor = Qwen2VLImageProcessorPil(patch_size=14, merge_size=2, size=PIXELS)
    torch.manual_seed(0)
    with device:
        backbone = AutoModel.from_config(config, dtype=dtype, attn_implementation=attention)
    packer = Packer(tokenizer, processor, rope_index(backbone), layout)
    return make(backbone, packer, AdapterInfo(preset, layout, candidate_max_pixels=candidate_max_pixels)).eval()


def with_language_head(ranker: GeoRanker) -> PreTrainedModel:
    """The stock model that a published script runs: the very weights of ``ranker`` and a language-model head."""
    backbone = ranker.backbone
    with torch.device("meta"):
        stock = AutoModelForImageTextToText.from_config(backbone.config, dtype=backbone.dtype)
    stock.model = backbone
    embeddings = backbone.get_input_embeddings().weight
    if not backbone.config.tie_word_embeddings:
        embeddings = torch.randn_like(embeddings) * backbone.config.text_config.initializer_range
    stock.lm_head.weight = nn.Parameter(embeddings, requires_grad=False)
    return stock.eval()
