"""Train a GeoRanker: a LoRA and a score head on a Qwen-VL, from groups of candidates of GeoRanking rows.

Four GPUs, as published (DeepSpeed ZeRO-2):

    CUDA_VISIBLE_DEVICES=0,1,2,3 deepspeed --num_gpus 4 finetune_geo_ranker.py \\
        --model_path=Qwen/Qwen2-VL-7B-Instruct --model_save_path=outputs/ranker --group_size=7

The embedded world, one process, CPU or GPU (torchrun for several); `make earth` runs the whole recipe:

    python finetune_geo_ranker.py --model_path checkpoints/earth-base --model_save_path outputs/earth \\
        --dataset dataset/earth/train/georanking.parquet --eval_dataset dataset/earth/val/georanking.parquet \\
        --image_path dataset/earth/train/images dataset/earth/val/images \\
        --image_data_path dataset/earth/gallery/images.tar --gallery dataset/earth/gallery/metadata.csv \\
        --group_size 10 --hard_pool 12 --generated 3 --easy_share 0.2:0 --prompt_layout negatives_first \\
        --cache_image_features --attn_implementation eager --num_workers 1 \\
        --total_batch_size 16 --per_device_train_batch_size 16 --per_device_eval_batch_size 25 \\
        --learning_rate 3e-4 --lr_scheduler_type cosine --warmup_steps 50 --lora_r 32 --lora_dropout 0 \\
        --num_train_epochs 2 --eval_steps 375 --save_steps 125 --logging_steps 25

An interrupted run goes on from its last complete checkpoint, with the same data, when the same command is
given with `--continue_ckpt_path latest`; a second one that saves into its folder meanwhile is refused. Rows that
cannot be used are named, counted and left out; a photo that turns out to be broken while training costs only its
candidate, or gives the place of its row to the next one.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from utils.cli.command import run_command
from utils.cli.flags import (
    add_vision_attention,
    at_least,
    attention,
    check_vision_attention,
    positive,
    script_parser,
)
from utils.cli.given import given_flags, refuse
from utils.data_paths import PUBLISHED_BASE, PUBLISHED_PHOTOS, PUBLISHED_ROWS, check_files
from utils.jobs.locks import alone_in
from utils.jobs.outputs import check_outputs
from utils.jobs.packages import check_package
from utils.jobs.processes import Processes
from utils.model.adapter_info import PUBLISHED_JPEG_QUALITY
from utils.model.prompts import LAYOUTS, PARTS
from utils.photos.store import ImageStore
from utils.training.checkpoints import adopt_finished, is_finished, starting_point
from utils.training.groups import GroupRule
from utils.training.rows import TrainingData

if TYPE_CHECKING:
    from utils.training.trainer import RankerTrainer

ZERO2 = Path(__file__).parent / "deepspeed_config" / "zero2.json"
# Flags that transformers' TrainingArguments knows by the same names.
TRAINER_FLAGS = (
    *("per_device_train_batch_size", "per_device_eval_batch_size", "num_train_epochs", "max_steps", "deepspeed"),
    *("learning_rate", "lr_scheduler_type", "warmup_steps", "weight_decay", "seed"),
    *("logging_steps", "eval_steps", "save_strategy", "save_steps", "report_to"),
)


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The arguments; ``rule`` is made of those about groups, ``deepspeed`` filled in under its launcher."""
    parser = script_parser(__doc__)
    add = parser.add_argument_group("model").add_argument
    add("--model_path", default=PUBLISHED_BASE, help="base model: hub name or folder")
    add("--model_save_path", required=True, help="folder for the adapter, and for checkpoints below it")
    add("--lora_r", type=at_least(1), default=16, help="rank of the LoRA; its alpha is twice the rank")
    add("--lora_dropout", type=at_least(0, float), default=0.05)
    add("--prompt_layout", choices=LAYOUTS, default="published", help="negatives_first is read faster")
    add("--omit", nargs="+", choices=PARTS, default=[], help="leave out of the prompt, as an ablation does")
    add(
        "--dtype",
        choices=("float32", "bfloat16"),
        help="of the frozen weights (bfloat16; float32 on a CPU without instructions for it)",
    )
    add("--attn_implementation", help="sdpa (default) or eager, faster on a CPU for short prompts")
    add_vision_attention(add)
    add("--min_pixels", type=at_least(1), help="enlarge smaller photos; default: the base model's limit")
    add("--max_pixels", type=at_least(1), help="shrink larger photos; default: the base model's limit")
    add(
        "--candidate_max_pixels",
        type=at_least(1),
        help="the same of candidates' photos, from a token's (784 in Qwen2-VL) to the query's, which is the default",
    )

    add = parser.add_argument_group("data").add_argument
    add("--dataset", default=PUBLISHED_ROWS, help="GeoRanking parquet, or a folder of them")
    add("--num_samples", type=at_least(1), default=100_000, help="use the first so many rows")
    add("--eval_dataset", help="GeoRanking parquet of validation queries")
    add("--image_path", nargs="+", default=[], help="folder(s) of the query photos")
    add("--image_data_path", nargs="+", default=[], help="tar(s) or folder(s) of the gallery photos")
    add("--tar_index_path", help="index of the tar, or released pickle; default: beside it")
    add("--jpeg_quality", type=at_least(0), help="re-encode photos; default: 75, published layout only; 0: do not")
    add("--feature_cache", help="folder for the vision tower's features: photos are encoded once, not every epoch")
    add("--cache_image_features", action="store_true", help="the same in a temporary folder, for this run alone")
    add("--num_workers", type=at_least(0), default=2, help="processes that prepare batches")

    add = parser.add_argument_group("groups").add_argument
    add("--group_size", type=int, default=5, help="candidates in a group")
    add("--hard_pool", type=int, help="draw them from the first so many of a row; default: group_size")
    add("--generated", type=int, default=0, help="so many give way to generated candidates of the row")
    add("--easy_share", type=shares, default=(0.0, 0.0), metavar="START:END", help="of easy groups")
    add("--gallery", help="metadata CSV of the gallery that easy groups draw from")
    add("--regional_km", type=float, default=1500.0, help="how near their regional candidates are")

    add = parser.add_argument_group("optimisation").add_argument
    add("--lambda1", type=float, default=0.7, help="weight of the first-order loss")
    add("--K", type=count_or_all, default=1, help="how many nearest candidates to rank, or `all`")
    add("--learning_rate", type=at_least(0, float), default=1e-4)
    add("--lr_scheduler_type", default="linear", help="a name that transformers knows")
    add("--warmup_steps", type=at_least(0, float), default=0, help="steps, or below 1 a share of all steps")
    add("--weight_decay", type=at_least(0, float), default=0.01)
    add("--total_batch_size", type=int, default=4, help="groups in a step, over all processes")
    add("--per_device_train_batch_size", type=at_least(1), default=1)
    add("--per_device_eval_batch_size", type=at_least(1), default=1)
    add("--num_train_epochs", type=positive, default=1)
    add("--max_steps", type=int, default=-1, help="overrides --num_train_epochs")
    add("--gradient_checkpointing", action="store_true", help="less memory, more time")
    add("--seed", type=at_least(0), default=42)

    add = parser.add_argument_group("running").add_argument
    add("--deepspeed", help=f"configuration; under the deepspeed launcher {ZERO2.name} by default")
    add("--local_rank", type=int, default=-1, help="given by the deepspeed launcher")
    add("--continue_ckpt_path", help="checkpoint, or `latest`: the newest in --model_save_path")
    add("--save_strategy", choices=("no", "steps", "epoch"), default="steps")
    add("--save_steps", type=at_least(1), default=500, help="the last two checkpoints are kept")
    add("--eval_steps", type=at_least(1), default=500)
    add("--logging_steps", type=at_least(1), default=10)
    add("--report_to", choices=("none", "wandb"), default="none")

    args = parser.parse_args(arguments)
    check_use(args, parser, given_flags(parser, arguments, args))
    if args.local_rank >= 0 and args.deepspeed is None:
        args.deepspeed = str(ZERO2)
    if not args.image_path and not args.image_data_path:
        args.image_data_path = [PUBLISHED_PHOTOS]
    published = args.prompt_layout == "published"
    if args.jpeg_quality is None and published:
        args.jpeg_quality = PUBLISHED_JPEG_QUALITY
    args.jpeg_quality = args.jpeg_quality or None
    try:
        args.rule = GroupRule(
            args.group_size,
            args.hard_pool,
            args.generated,
            args.easy_share,
            args.regional_km,
            drop_empty_names=not published,
        )
        check(args)
    except ValueError as error:
        parser.error(str(error))
    return args


def check_use(args: argparse.Namespace, parser: argparse.ArgumentParser, given: set[str]) -> None:
    """Refuse flags that have no effect beside the others."""
    if "easy_share" not in given:
        refuse(parser, given, ("gallery", "regional_km"), "without --easy_share")
    if args.eval_dataset is None:
        refuse(parser, given, ("eval_steps",), "without --eval_dataset")
    if args.save_strategy != "steps":
        refuse(parser, given, ("save_steps",), f"with --save_strategy {args.save_strategy}")
    if args.feature_cache is not None:
        refuse(parser, given, ("cache_image_features",), "with --feature_cache, which keeps them for later runs")


def shares(text: str) -> tuple[float, float]:
    """``START:END`` -> (start, end)."""
    start, end = text.split(":")
    return float(start), float(end)


def count_or_all(text: str) -> int | None:
    """A positive number, or None for ``all``."""
    return None if text == "all" else at_least(1)(text)


def check(args: argparse.Namespace) -> None:
    """Raise ValueError for arguments that do not go together."""
    processes = Processes.from_environment().count
    if args.total_batch_size < 1 or args.total_batch_size % (args.per_device_train_batch_size * processes):
        raise ValueError(
            f"total_batch_size {args.total_batch_size} is no multiple of per_device_train_batch_size "
            f"{args.per_device_train_batch_size} times {processes} processes"
        )
    if args.K is not None and args.group_size < args.K:
        raise ValueError(f"K {args.K} is more than group_size {args.group_size}")
    if len(set(args.omit)) < len(args.omit):
        raise ValueError(f"omit names a part twice: {' '.join(args.omit)}")
    if args.jpeg_quality is not None and args.jpeg_quality > 100:
        raise ValueError(f"jpeg_quality {args.jpeg_quality} is more than 100")
    if not 0 <= args.lambda1 <= 1:
        raise ValueError(f"lambda1 {args.lambda1} is not between 0 and 1")
    if any(args.easy_share) and args.gallery is None:
        raise ValueError("easy_share needs gallery")
    if args.report_to == "wandb":
        check_package("report_to wandb", "wandb", "wandb")
    if args.deepspeed:
        check_package("deepspeed", "deepspeed", "train")
    check_vision_attention(args)


def main(arguments: Sequence[str] | None = None) -> int:
    args = parse_arguments(arguments)
    stopped = "stopped; --continue_ckpt_path latest goes on from the last checkpoint, if there is one"
    return run_command(lambda: finetune(args), quiet=args.quiet, stopped=stopped)


def finetune(args: argparse.Namespace) -> list[str]:
    """Train and save the adapter. Rows that cannot be used are reported, and are no reason to exit with 1."""
    files = [(name, getattr(args, name)) for name in ("dataset", "eval_dataset", "gallery", "tar_index_path")]
    check_files(files + [(name, path) for name in ("image_path", "image_data_path") for path in getattr(args, name)])
    check_outputs(folders=[(f"--{name}", getattr(args, name)) for name in ("model_save_path", "feature_cache")])
    with (
        alone_in(args.model_save_path, Processes.from_environment().rank),
        TemporaryDirectory(prefix="features-") as scratch,
    ):
        checkpoint = starting_point(args.model_save_path, args.continue_ckpt_path)
        trainer = prepare(args, scratch)
        steps = trainer.train_dataset.total // args.total_batch_size
        if checkpoint and is_finished(checkpoint, steps):  # the Trainer would add a step
            if trainer.args.should_save:
                adopt_finished(checkpoint, steps, args.model_save_path)
            return []
        trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
        trainer.save_adapter(args.model_save_path)
    return []


def prepare(args: argparse.Namespace, scratch: str) -> "RankerTrainer":
    """Everything that a training needs; what cannot be used is reported.

    ``scratch``: a folder for features that are to be cached for this process and training alone.
    """
    store = ImageStore.from_paths([*args.image_path, *args.image_data_path], args.tar_index_path)
    gallery = args.gallery if any(args.easy_share) else None
    data = TrainingData.read(args.dataset, args.num_samples, args.eval_dataset or None, gallery)
    cache = args.feature_cache or (scratch if args.cache_image_features else None)

    from utils.training.arguments import default_dtype, training_arguments
    from utils.training.batches import GroupCollator, groups_of
    from utils.training.model import load_model
    from utils.training.photos import open_photos
    from utils.training.trainer import RankerTrainer

    dtype = args.dtype or default_dtype()
    settings = training_arguments(  # before the model: under DeepSpeed ZeRO-3 it is then loaded in shards
        args.model_save_path,
        dtype=dtype,
        total_batch_size=args.total_batch_size,
        evaluate=bool(args.eval_dataset),
        cached_features=cache is not None,
        workers=args.num_workers,
        quiet=args.quiet,
        **{name: getattr(args, name) for name in TRAINER_FLAGS},
    )
    ranker, model = load_model(
        args.model_path,
        seed=args.seed,
        lora_r=args.lora_r,
        lora_dropout=args.lora_dropout,
        gradient_checkpointing=args.gradient_checkpointing,
        layout=args.prompt_layout,
        dtype=dtype,
        device=settings.device,
        attn_implementation=attention(args, settings.device.type),
        min_pixels=args.min_pixels,
        max_pixels=args.max_pixels,
        candidate_max_pixels=args.candidate_max_pixels,
        omit=args.omit,
    )
    processes = Processes.from_environment() if args.feature_cache else Processes()
    photos, known = open_photos(store, data, args.rule, ranker, args.jpeg_quality, cache, processes, args.num_workers)
    training, evaluation = groups_of(
        data.usable(args.rule, known),
        args.rule,
        photos,
        batch_size=args.total_batch_size,
        epochs=args.num_train_epochs,
        max_steps=args.max_steps,
        seed=args.seed,
    )
    return RankerTrainer(
        model,
        settings,
        GroupCollator(ranker.packer),
        training,
        evaluation,
        info=replace(ranker.info, group_size=args.group_size, candidate_jpeg_quality=args.jpeg_quality),
        lambda1=args.lambda1,
        K=args.K,
        sharing="packed_row" if args.gradient_checkpointing else "prefix_cache",
    )


if __name__ == "__main__":
    sys.exit(main())
