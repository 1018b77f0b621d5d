"""A training step of the LoRA on a group: both sides on the same groups, for ``benchmarks.training``."""

import argparse
import tempfile
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from benchmarks import flops, measure, naive
from benchmarks.common import make_inputs, settings
from benchmarks.inputs import encode
from benchmarks.models import load_ranker, with_language_head
from utils.geo_ranker import GeoRanker
from utils.model.adapter import add_lora
from utils.model.batch import PackedBatch
from utils.training.losses import multi_order_loss

LORA_R, LEARNING_RATE, WEIGHT_DECAY = 16, 1e-4, 0.01


def make_groups(args: argparse.Namespace, ranker: GeoRanker) -> tuple[list[PackedBatch], list[dict[str, Tensor]]]:
    """The same groups as batches of both sides, one a group."""
    with tempfile.TemporaryDirectory() as folder:
        inputs = make_inputs(args, ranker, folder)
        theirs = [naive.batch(ranker, list(naive.prompts(ranker, query, *inputs[1:]))) for query in inputs[0]]
        queries, images = encode(inputs, ranker.packer, ranker.candidate_packer)
    return [ranker.packer.pack([query], images) for query in queries], theirs


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Measure, or with ``--flops_only`` count, and return all figures."""
    # A cache is not kept by layers that are computed twice.
    sharing = args.sharing or ("packed_row" if args.gradient_checkpointing else "prefix_cache")
    ranker = load_ranker(
        args.preset,
        args.layout,
        dtype=args.dtype,
        device="meta" if args.flops_only else args.device,
        attention=args.attn_implementation,
        candidate_max_pixels=args.candidate_max_pixels,
    )
    packed, prompts = make_groups(args, ranker)
    count = flops.FlopCounter(ranker.backbone.config)
    results = settings(args) | flops.counted(
        packed,
        prompts,
        sharing,
        lambda load: count.training(load, LORA_R, args.gradient_checkpointing),
        len(packed),
    )
    if args.flops_only:
        return results

    stock = with_language_head(ranker)  # before the LoRA, which then is in the layers of both
    adapted = add_lora(ranker, r=LORA_R)
    if args.gradient_checkpointing:
        ranker.enable_gradient_checkpointing()
    packed = [batch.to(args.device) for batch in packed]
    prompts = [naive.to(naive.with_positions(ranker, inputs), args.device) for inputs in prompts]
    with torch.inference_mode():
        pairs = [
            (ranker(batch, sharing).cpu().numpy(), naive.rewards(stock, ranker, inputs).cpu().numpy())
            for batch, inputs in zip(packed, prompts, strict=True)
        ]
    results |= measure.agreement(*zip(*pairs, strict=True))

    adapted.train()
    stock.train()
    trained = [parameter for parameter in adapted.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY)

    def steps(rewards_of: Callable[[Any], Tensor], batches: list) -> None:
        for batch in batches:
            optimizer.zero_grad()
            with torch.autocast(args.device.type, torch.bfloat16, enabled=args.dtype == torch.bfloat16):
                rewards = rewards_of(batch)
                distances = torch.logspace(0, 4, len(rewards), device=args.device)  # km
                loss = multi_order_loss(rewards, distances).total
            loss.backward()
            optimizer.step()

    sides = {
        "ours": lambda: steps(lambda batch: ranker(batch, sharing), packed),
        "naive": lambda: steps(lambda inputs: naive.rewards(stock, ranker, inputs), prompts),
    }
    measure.compare(sides, len(packed), args.repeats, args.device, results)
    measure.add_utilisation(results, args.dtype, args.device)
    return results
