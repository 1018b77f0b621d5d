"""The embedded world's vision-language model: a real Qwen2-VL of three and a half million parameters.

Everything about it is ordinary (configuration, tokenizer with Qwen's special tokens and chat template, image
processor), so that code written for the hub's checkpoints runs on it unchanged; only the sizes are its own.
"""

import json
from collections.abc import Iterable
from functools import cache
from pathlib import Path

import torch
from tokenizers import pre_tokenizers, trainers
from transformers import (
    GenerationConfig,
    PreTrainedTokenizerBase,
    Qwen2Tokenizer,
    Qwen2VLConfig,
    Qwen2VLForConditionalGeneration,
)
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

from earth.recipe import MERGE, PATCH_PIXELS, TILE_PIXELS
from utils.jobs.files import move_files

# A head has 24 frequencies, theta ** -(i / 24). Photo and tile stand up to 200 tokens apart, more or less as texts are
# long, and what turns in between is hard to compare their tokens with: with the usual 10,000 about half of a head.
ROPE_THETA = 1e8
MROPE_SECTION = [1, 1, 22]  # time, row, column: the turns in which 4 x 4 image tokens can be told apart
VOCABULARY = 3072
SPECIAL_TOKENS = (
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|vision_pad|>",
    "<|image_pad|>",
    "<|video_pad|>",
)
CHAT_TEMPLATE = """\
{%- if messages[0]['role'] != 'system' -%}
{{- '<|im_start|>system\\nYou are a helpful assistant.<|im_end|>\\n' -}}
{%- endif -%}
{%- for message in messages -%}
{{- '<|im_start|>' + message['role'] + '\\n' -}}
{%- if message['content'] is string -%}
{{- message['content'] -}}
{%- else -%}
{%- for part in message['content'] -%}
{{- part['text'] if part['type'] == 'text' else '<|vision_start|><|image_pad|><|vision_end|>' -}}
{%- endfor -%}
{%- endif -%}
{{- '<|im_end|>\\n' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}
{{- '<|im_start|>assistant\\n' -}}
{%- endif -%}
"""


def train_tokenizer(texts: Iterable[str]) -> Qwen2Tokenizer:
    """A byte-level BPE of ``VOCABULARY`` tokens that splits text as Qwen2 does, every digit a token of its own."""
    blank = Qwen2Tokenizer().backend_tokenizer
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY - len(SPECIAL_TOKENS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    blank.train_from_iterator(texts, trainer)
    bpe = json.loads(blank.to_str())["model"]
    return Qwen2Tokenizer(
        vocab=bpe["vocab"],
        merges=[tuple(pair) for pair in bpe["merges"]],
        eos_token="<|im_end|>",
        extra_special_tokens=list(SPECIAL_TOKENS),
        chat_template=CHAT_TEMPLATE,
        model_max_length=4096,
    )


@cache
def image_processor() -> Qwen2VLImageProcessorPil:
    """Qwen2-VL's own, told to leave a tile at its size; larger photos shrink to a tile's number of pixels."""
    pixels = TILE_PIXELS**2
    return Qwen2VLImageProcessorPil(
        patch_size=PATCH_PIXELS, merge_size=MERGE, size={"shortest_edge": pixels, "longest_edge": pixels}
    )


def build_model(tokenizer: PreTrainedTokenizerBase) -> Qwen2VLForConditionalGeneration:
    """The untrained model: a vision tower of 4 layers of 128, a language model of 4 layers of 192, tied embeddings.

    A tile of 64 pixels becomes 8 x 8 patches and 16 tokens. Call ``torch.manual_seed`` first to fix the weights.
    """
    token = tokenizer.convert_tokens_to_ids
    config = Qwen2VLConfig(
        text_config={
            "vocab_size": VOCABULARY,
            "hidden_size": 192,
            "intermediate_size": 512,
            "num_hidden_layers": 4,
            "num_attention_heads": 4,
            "num_key_value_heads": 4,
            "max_position_embeddings": 4096,
            "rope_parameters": {"rope_type": "default", "rope_theta": ROPE_THETA, "mrope_section": MROPE_SECTION},
            "bos_token_id": None,
            "eos_token_id": token("<|im_end|>"),
            "pad_token_id": token("<|endoftext|>"),
        },
        vision_config={
            "depth": 4,
            "embed_dim": 128,
            "num_heads": 4,
            "hidden_size": 192,
            "patch_size": PATCH_PIXELS,
            "spatial_merge_size": MERGE,
        },
        image_token_id=token("<|image_pad|>"),
        video_token_id=token("<|video_pad|>"),
        vision_start_token_id=token("<|vision_start|>"),
        vision_end_token_id=token("<|vision_end|>"),
        tie_word_embeddings=True,
    )
    model = Qwen2VLForConditionalGeneration(config)
    model.generation_config = GenerationConfig(eos_token_id=token("<|im_end|>"), pad_token_id=token("<|endoftext|>"))
    return model


def save(model: Qwen2VLForConditionalGeneration, tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
    """Write an ordinary transformers folder with bfloat16 weights, file by file complete.

    ``model`` itself keeps its precision.
    """
    weights = {
        name: tensor.to(torch.bfloat16)
        for name, tensor in model.state_dict().items()
        if name not in model.all_tied_weights_keys  # stored once, as the embedding
    }
    partial = folder / ".partial"
    model.save_pretrained(partial, state_dict=weights)
    tokenizer.save_pretrained(partial)
    image_processor().save_pretrained(partial)
    move_files(partial, folder, last=".safetensors")
