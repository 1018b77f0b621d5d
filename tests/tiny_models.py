"""Tiny models of the supported families, with random weights, saved as ordinary checkpoint folders."""

import json
import os

import torch
from peft import PeftModel
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from transformers import (
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2Tokenizer,
    Qwen2VLConfig,
    Qwen2VLForConditionalGeneration,
    Qwen2VLImageProcessorPil,
    Qwen3_5Config,
    Qwen3_5ForConditionalGeneration,
    Qwen3_5Tokenizer,
    Qwen3VLConfig,
    Qwen3VLForConditionalGeneration,
)

from utils.model.adapter_info import AdapterInfo
from utils.model.sharing import SHARINGS

FAMILIES = ("qwen2_vl", "qwen2_5_vl", "qwen3_vl", "qwen3_5")
# Ways of sharing a prefix: the first layer of the tiny Qwen3.5 is recurrent, and takes no packed row.
SHARINGS_OF = dict.fromkeys(FAMILIES, SHARINGS) | {"qwen3_5": ("prefix_cache",)}
# Layers of the language model that are quantised, and those that an adapter has a LoRA on.
QUANTISED_LAYERS = dict.fromkeys(FAMILIES, 2 * 7) | {"qwen3_5": 7 + 6}
LORA_LAYERS = dict.fromkeys(FAMILIES, 2 * 3) | {"qwen3_5": 3 + 1}
SPECIAL_TOKENS = (
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|image_pad|>",
    "<|video_pad|>",
)
# Writes what Qwen2-VL's own template writes for turns of texts and images.
CHAT_TEMPLATE = """
{%- for message in messages -%}
{%- if loop.first and message.role != "system" -%}
{{ "<|im_start|>system\\nYou are a helpful assistant.<|im_end|>\\n" }}
{%- endif -%}
{{ "<|im_start|>" + message.role + "\\n" }}
{%- if message.content is string -%}
{{ message.content }}
{%- else -%}
{%- for part in message.content -%}
{{ "<|vision_start|><|image_pad|><|vision_end|>" if part.type == "image" else part.text }}
{%- endfor -%}
{%- endif -%}
{{ "<|im_end|>\\n" }}
{%- endfor -%}
{%- if add_generation_prompt -%}
{{ "<|im_start|>assistant\\n" }}
{%- endif -%}
"""
# Qwen3.5's opens a thought behind that, or closes an empty one where it is told to.
THINKING = """
{%- if add_generation_prompt -%}
{{ "<think>\\n\\n</think>\\n\\n" if enable_thinking is defined and enable_thinking is false else "<think>\\n" }}
{%- endif -%}
"""
SENTENCES = (
    "You are a helpful assistant. system user assistant",
    "How far is this place from latitude: 46.167286, longitude: 7.099698, Martigny Valais Switzerland?",
    "Negative examples: latitude: -33.87, longitude: 151.21, Sydney New South Wales Australia; latitude: 1.0",
    'Where was this photo taken? {"latitude": 12.34,"longitude": -56.78}',
)
ROPE = {"rope_type": "default", "mrope_section": [2, 3, 3], "rope_theta": 10_000.0}


def build_tiny_tokenizer(family: str = "qwen2_vl") -> Qwen2Tokenizer | Qwen3_5Tokenizer:
    """Qwen's byte-level BPE with a few merges, its special tokens and its chat template."""
    trained = Tokenizer(models.BPE())
    trained.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(vocab_size=340, initial_alphabet=alphabet, show_progress=False)
    trained.train_from_iterator(SENTENCES * 4, trainer)
    bpe = json.loads(trained.to_str())["model"]
    thinks = family == "qwen3_5"
    return (Qwen3_5Tokenizer if thinks else Qwen2Tokenizer)(
        vocab=bpe["vocab"],
        merges=[tuple(merge) for merge in bpe["merges"]],
        additional_special_tokens=[*SPECIAL_TOKENS, *(("<think>", "</think>") if thinks else ())],
        chat_template=CHAT_TEMPLATE + THINKING if thinks else CHAT_TEMPLATE,
    )


def build_tiny_base(path: str | os.PathLike, family: str, seed: int = 0) -> None:
    """Save a random model of ``family`` (one of FAMILIES): hidden 32, 2 layers, image tokens of 8 x 8 pixels.

    Its weights are large enough for a photo or a word to change the last hidden state visibly.
    """
    tokenizer = build_tiny_tokenizer(family)
    special = dict(zip(SPECIAL_TOKENS, tokenizer.convert_tokens_to_ids(list(SPECIAL_TOKENS)), strict=True))
    text = {
        "vocab_size": len(tokenizer),
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "rope_parameters": ROPE,
        "initializer_range": 0.2,
        "bos_token_id": special["<|endoftext|>"],
        "eos_token_id": special["<|im_end|>"],
    }
    vision = {"depth": 2, "num_heads": 2, "patch_size": 4, "spatial_merge_size": 2, "initializer_range": 0.2}
    model_class, config_class = {
        "qwen2_vl": (Qwen2VLForConditionalGeneration, Qwen2VLConfig),
        "qwen2_5_vl": (Qwen2_5_VLForConditionalGeneration, Qwen2_5_VLConfig),
        "qwen3_vl": (Qwen3VLForConditionalGeneration, Qwen3VLConfig),
        "qwen3_5": (Qwen3_5ForConditionalGeneration, Qwen3_5Config),
    }[family]
    if family == "qwen2_vl":
        vision |= {"embed_dim": 16, "hidden_size": 32, "mlp_ratio": 2}
    else:
        vision |= {"hidden_size": 16, "out_hidden_size": 32, "intermediate_size": 24}
    if family == "qwen2_5_vl":
        vision |= {"window_size": 16, "fullatt_block_indexes": [1]}
    if family == "qwen3_vl":
        text |= {"head_dim": 16}
        vision |= {"num_position_embeddings": 16, "deepstack_visual_indexes": [0, 1]}
    if family == "qwen3_5":
        text |= {"head_dim": 32, "rope_parameters": ROPE | {"partial_rotary_factor": 0.5}}
        text |= {"layer_types": ["linear_attention", "full_attention"]}
        text |= {"linear_num_key_heads": 1, "linear_num_value_heads": 2}
        text |= {"linear_key_head_dim": 8, "linear_value_head_dim": 8}
        vision |= {"num_position_embeddings": 16}
    config = config_class(
        text_config=text,
        vision_config=vision,
        image_token_id=special["<|image_pad|>"],
        video_token_id=special["<|video_pad|>"],
        vision_start_token_id=special["<|vision_start|>"],
        vision_end_token_id=special["<|vision_end|>"],
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = model_class(config)
        for name, weight in model.named_parameters():
            if name.endswith(".A_log"):  # stock random layers forget the prefix within a few tokens of a suffix
                torch.nn.init.constant_(weight, -3.5)
        model.save_pretrained(path)
    tokenizer.save_pretrained(path)
    Qwen2VLImageProcessorPil(
        patch_size=4, merge_size=2, size={"shortest_edge": 128, "longest_edge": 1024}
    ).save_pretrained(path)


def save_adapter(adapted: PeftModel, folder: str | os.PathLike, info: AdapterInfo) -> None:
    """An adapter folder as a training leaves it."""
    adapted.save_pretrained(str(folder), save_embedding_layers=False)  # else peft would ask the hub about embeddings
    info.save(folder)
