"""The settings of transformers' Trainer that a training on groups needs."""

import os
from typing import Any

import torch
from transformers import TrainingArguments
from transformers.integrations import is_deepspeed_zero3_enabled

from utils.jobs.processes import Processes
from utils.model.device import multiplies, own_device


def default_dtype() -> str:
    """What a training computes in where nothing is said: bfloat16, where the GPU or CPU has instructions for it."""
    return "bfloat16" if multiplies(torch.bfloat16, own_device(0)) else "float32"


def training_arguments(
    folder: str | os.PathLike,
    *,
    dtype: str,
    total_batch_size: int,
    per_device_train_batch_size: int,
    evaluate: bool,
    cached_features: bool,
    workers: int,
    quiet: bool,
    deepspeed: str | None = None,
    **settings: Any,
) -> TrainingArguments:
    """The Trainer's settings, for the GPU of this process or else the CPU.

    Args:
        folder: for the checkpoints; the last two are kept.
        dtype: "bfloat16" computes in mixed precision, "float32" does not.
        total_batch_size: groups in a step, over all processes; a multiple of what these take at once.
        per_device_train_batch_size: groups that a process takes at once.
        evaluate: whether there are rows to evaluate on, every so many steps.
        cached_features: whether photos are to come from a cache of the vision tower's features.
        workers: processes that prepare batches.
        quiet: without progress bars.
        deepspeed: path of a configuration, None to train without.
        settings: further ones, by their names in TrainingArguments.

    Raises:
        ValueError: for several GPUs without a launcher, and for cached features under ZeRO-3.
    """
    if "LOCAL_RANK" not in os.environ and torch.cuda.device_count() > 1:
        raise ValueError("several GPUs need torchrun or deepspeed; for one, set CUDA_VISIBLE_DEVICES=0")
    on_cpu = not torch.cuda.is_available()
    if deepspeed and on_cpu:
        # On a CPU the Trainer starts torch.distributed alone, but ZeRO-3 shards the model while it is loaded.
        from deepspeed import init_distributed

        init_distributed()
    arguments = TrainingArguments(
        output_dir=folder,
        use_cpu=on_cpu,
        bf16=dtype == "bfloat16",
        per_device_train_batch_size=per_device_train_batch_size,
        gradient_accumulation_steps=total_batch_size
        // (per_device_train_batch_size * Processes.from_environment().count),
        eval_strategy="steps" if evaluate else "no",
        save_total_limit=2,
        disable_tqdm=quiet or None,
        dataloader_num_workers=workers,
        dataloader_pin_memory=not on_cpu,
        accelerator_config={"non_blocking": not on_cpu},
        train_sampling_strategy="sequential",  # TrainingGroups shuffles, so that an item knows its place
        remove_unused_columns=False,
        ddp_find_unused_parameters=False,
        deepspeed=deepspeed,
        **settings,
    )
    if cached_features and is_deepspeed_zero3_enabled():
        raise ValueError("cached features need the whole vision tower in every process: not with ZeRO-3")
    return arguments
