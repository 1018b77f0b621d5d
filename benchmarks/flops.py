"""Floating-point operations of both sides, from shapes: matrix products and attention, two for a multiply-add.

Counted is what is computed, as ``torch.utils.flop_counter`` counts it: padding too, and attention over the whole
square, though a kernel may skip the half that a causal mask hides.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor
from transformers import PreTrainedConfig

from utils.model.batch import PackedBatch
from utils.model.sharing import Sharing


@dataclass(frozen=True)
class Call:
    """One call of the language model."""

    rows: int
    tokens: int  # in a row
    keys: int  # that each token attends to, those it may not see included
    used: int | None = None  # tokens whose last hidden state is used, where the last layer computes no others


@dataclass(frozen=True)
class Workload:
    """What a side computes for some candidates."""

    calls: list[Call]
    patches: list[int]  # of each photo, before merging
    rewards: int
    logits: int = 0  # tokens whose logits over the vocabulary are computed


def shared(batch: PackedBatch, sharing: Sharing) -> Workload:
    """Ours."""
    patches = batch.image_grid_thw.prod(1).tolist()
    (queries, prefix), candidates = batch.prefix_ids.shape, len(batch.suffix_ids)
    if sharing == "prefix_cache":
        calls = [Call(queries, prefix, prefix, used=0)]
        for chosen in batch.suffixes_by_length():
            suffix = int(batch.suffix_mask[chosen].sum(1).max())
            calls.append(Call(len(chosen), suffix, prefix + suffix, used=len(chosen)))
    else:
        length = batch.rows().ids.shape[1]
        calls = [Call(queries, length, length, used=candidates)]
    return Workload(calls, patches, candidates)


def naive(inputs: dict[str, Tensor]) -> Workload:
    """The published way."""
    rows, length = inputs["input_ids"].shape
    patches = inputs["image_grid_thw"].prod(1).tolist()
    return Workload([Call(rows, length, length)], patches, rows, logits=rows * length)


def shared_without_padding(batch: PackedBatch) -> Workload:
    """The least that ours has to compute: every prefix and every suffix at its own length."""
    prefixes, suffixes = batch.prefix_mask.sum(1).tolist(), batch.suffix_mask.sum(1).tolist()
    calls = [Call(1, prefix, prefix, used=0) for prefix in prefixes]
    for number, suffix in zip(batch.query_index.tolist(), suffixes, strict=True):
        calls.append(Call(1, suffix, prefixes[number] + suffix, used=1))
    return Workload(calls, batch.image_grid_thw.prod(1).tolist(), len(suffixes))


def naive_without_padding(inputs: dict[str, Tensor]) -> Workload:
    """The least of the published way: every prompt at its own length."""
    lengths = inputs["attention_mask"].sum(1).tolist()
    patches = inputs["image_grid_thw"].prod(1).tolist()
    return Workload([Call(1, length, length) for length in lengths], patches, len(lengths), logits=sum(lengths))


def counted(
    packed: Sequence[PackedBatch],
    prompts: Sequence[dict[str, Tensor]],
    sharing: Sharing,
    operations: Callable[[Workload], int],
    units: int,
) -> dict[str, Any]:
    """Work of both sides on each of ``units`` queries or groups, and its ratio naive : ours, also without padding."""
    loads = {"ours": [shared(batch, sharing) for batch in packed], "naive": [naive(inputs) for inputs in prompts]}
    results: dict[str, Any] = {
        name: {
            "tflops": sum(map(operations, side)) / units / 1e12,
            "tokens": sum(call.rows * call.tokens for load in side for call in load.calls) / units,
            "photos": sum(len(load.patches) for load in side) / units,
        }
        for name, side in loads.items()
    }
    least = sum(map(operations, map(shared_without_padding, packed)))
    return results | {
        "flop_ratio": results["naive"]["tflops"] / results["ours"]["tflops"],
        "flop_ratio_without_padding": sum(map(operations, map(naive_without_padding, prompts))) / least,
    }


class FlopCounter:
    """FLOPs of a Qwen2-VL of a given configuration."""

    def __init__(self, config: PreTrainedConfig) -> None:
        text, self.vision = config.text_config, config.vision_config
        self.layers, self.hidden, self.vocabulary = text.num_hidden_layers, text.hidden_size, text.vocab_size
        self.key_value = self.hidden // text.num_attention_heads * text.num_key_value_heads
        # Of a token in one layer.
        self.query_projection = 2 * self.hidden**2
        self.key_value_projections = 4 * self.hidden * self.key_value
        self.rest = 2 * self.hidden**2 + 6 * self.hidden * text.intermediate_size  # output projection, feed-forward

    def inference(self, load: Workload) -> int:
        head = 2 * self.hidden * (load.logits * self.vocabulary + load.rewards)
        return head + self._vision(load.patches) + sum(map(self._forward, load.calls))

    def training(self, load: Workload, lora_r: int, checkpointing: bool = False) -> int:
        """Forward and backward with a LoRA on q, k and v and the score head; all else is frozen.

        Frozen weights get no gradient but pass it on, except to what no trained weight feeds: the vision tower and
        the input of the first layer. With checkpointing all layers but the last are computed once more.
        """
        total = self.inference(load) + 2 * 2 * self.hidden * load.rewards
        for call in load.calls:
            lora = self._forward(call, lora_r) - self._forward(call)
            total += 3 * lora + self._forward(call)
            total += self.layers * self._attention(call)  # its backward is twice its forward
            # The first layer's input needs no gradient.
            first = self.query_projection + self.key_value_projections + 3 * 2 * lora_r * self.hidden
            total -= call.rows * call.tokens * first
            if call.used == 0:  # nor what the last layer makes of its keys and values
                total -= 2 * self._attention(call)
            if checkpointing:
                total += (self.layers - 1) * self._layer(call, call.rows * call.tokens, lora_r)
        return total

    def _forward(self, call: Call, lora_r: int = 0) -> int:
        tokens = call.rows * call.tokens
        last = self._layer(call, tokens if call.used is None else call.used, lora_r)
        return (self.layers - 1) * self._layer(call, tokens, lora_r) + last

    def _layer(self, call: Call, queries: int, lora_r: int) -> int:
        """A layer in which all tokens have keys and values, and ``queries`` of them all else."""
        key_value = self.key_value_projections + 2 * 2 * lora_r * (self.hidden + self.key_value)
        query = self.query_projection + 2 * lora_r * 2 * self.hidden + self.rest
        return call.rows * call.tokens * key_value + queries * query + self._attention(call)

    def _attention(self, call: Call) -> int:
        return 4 * self.hidden * call.rows * call.tokens * call.keys

    def _vision(self, patches: Sequence[int]) -> int:
        """Patches attend to those of their own photo; 4 of them are merged into one token of the language model."""
        vision = self.vision
        width, merged = vision.embed_dim, vision.spatial_merge_size**2
        pixels = vision.in_channels * vision.temporal_patch_size * vision.patch_size**2
        linear = 2 * width * (4 + 2 * vision.mlp_ratio) * width
        merger = 2 * width * (merged * width + vision.hidden_size)  # of a patch
        return sum(
            count * (2 * pixels * width + vision.depth * (linear + 4 * width * count) + merger) for count in patches
        )
