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
given with `--continue_ckpt_path latest`. Rows that cannot be used are named, counted and left out; a photo that
turns out to be broken while training costs only its candidate, or gives the place of its row to the next one.
"""

import argparse
import importlib.util
import math
import os
from collections.abc import Container, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from transformers import TrainingArguments, set_seed
from transformers.integrations import is_deepspeed_zero3_enabled

from utils.candidates import PROMPT_COLUMNS
from utils.cli.command import one_line_errors
from utils.data_paths import PUBLISHED_BASE, PUBLISHED_PHOTOS, PUBLISHED_ROWS, check_files
from utils.geo_ranker import GeoRanker
from utils.jobs.processes import Processes
from utils.model.adapter import add_lora
from utils.model.features import EncodedPhotos, shared_features
from utils.model.prompts import LAYOUTS, PARTS
from utils.photos.store import ImageStore
from utils.tables.metadata import metadata_problems, read_metadata
from utils.training.batches import EvaluationGroups, GroupCollator, TrainingGroups
from utils.training.checkpoints import find_checkpoint
from utils.training.georanking import GeoRankingRow, read_georanking
from utils.training.groups import EasyPool, GroupRule, usable_rows
from utils.training.trainer import RankerTrainer

ZERO2 = Path(__file__).parent / "deepspeed_config" / "zero2.json"


def main(argv: list[str] | None = None) -> None:
    args = parse(argv)
    with TemporaryDirectory(prefix="features-") as scratch:
        with one_line_errors():
            checkpoint = start(args)
            trainer = prepare(args, scratch)
        trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
        trainer.save_adapter(args.model_save_path)


def start(args: argparse.Namespace) -> Path | None:
    """The checkpoint to go on from, None for a new training. Raises where files are missing, or old ones in the way."""
    check_files(needed_files(args))
    if args.continue_ckpt_path:
        latest = args.continue_ckpt_path == "latest"
        return find_checkpoint(args.model_save_path if latest else args.continue_ckpt_path)
    if any(Path(args.model_save_path).glob("checkpoint-*")):
        # Whoever says `latest` later would go on from the wrong training.
        raise ValueError(
            f"{args.model_save_path} has checkpoints of an earlier training: go on from them with "
            "--continue_ckpt_path latest, or remove them, or save to another folder"
        )
    return None


def prepare(args: argparse.Namespace, scratch: str) -> RankerTrainer:
    """Everything that a training needs; what cannot be used is reported on the way.

    ``scratch``: a folder for features that are to be cached for this process and training alone.
    """
    store = ImageStore.from_paths([*args.image_path, *args.image_data_path], args.tar_index_path)
    rows, problems = read_georanking(args.dataset)
    rows = rows[: args.num_samples]
    validation, validation_problems = read_georanking(args.eval_dataset) if args.eval_dataset else ([], [])
    gallery = read_gallery(args.gallery) if any(args.easy_share) else None

    # Before the model: under DeepSpeed ZeRO-3 they make transformers load it in shards.
    settings = training_arguments(args)
    cached = args.cache_image_features or args.feature_cache
    if cached and is_deepspeed_zero3_enabled():
        raise ValueError("cached features need the whole vision tower in every process: not with ZeRO-3")
    set_seed(args.seed)
    ranker = GeoRanker.from_pretrained(
        args.model_path,
        layout=args.prompt_layout,
        dtype=getattr(torch, args.dtype),
        device=settings.device,
        attn_implementation=args.attn_implementation,
        min_pixels=args.min_pixels,
        max_pixels=args.max_pixels,
        omit=args.omit,
    )
    model = add_lora(ranker, r=args.lora_r, dropout=args.lora_dropout)
    if args.gradient_checkpointing:
        ranker.enable_gradient_checkpointing()

    if cached:
        ids = shown_photos([*rows, *validation], args.rule, gallery)
        processes = Processes.from_environment() if args.feature_cache else Processes()
        photos, unreadable = shared_features(
            args.feature_cache or scratch,
            ranker.backbone,
            ranker.packer,
            store,
            ids,
            processes,
            args.num_workers,
            "photos",
        )
        report("photos", len(ids) - len(unreadable), unreadable)
        known = photos
    else:
        photos, known = EncodedPhotos(store, ranker.packer), store
    rows = usable(args.dataset, rows, problems, args.rule, known)
    if len(rows) < args.total_batch_size:
        raise ValueError(f"{args.dataset}: {len(rows)} usable rows are less than total_batch_size")
    if args.eval_dataset:
        validation = usable(args.eval_dataset, validation, validation_problems, args.rule, known)

    if gallery is not None:
        found = gallery.only(known)
        kept = set(found.ids)
        report(args.gallery, len(found), [f"no photo {image_id}" for image_id in gallery.ids if image_id not in kept])
        gallery = found
    steps = math.ceil(args.num_train_epochs * (len(rows) // args.total_batch_size))
    groups = TrainingGroups(
        rows,
        args.rule,
        photos,
        batch_size=args.total_batch_size,
        steps=args.max_steps if args.max_steps > 0 else steps,
        seed=args.seed,
        gallery=gallery,
    )
    return RankerTrainer(
        model,
        settings,
        GroupCollator(ranker.packer),
        groups,
        EvaluationGroups(validation, args.rule, photos) if validation else None,
        info=replace(ranker.info, group_size=args.group_size),
        lambda1=args.lambda1,
        K=args.K,
        carrier="packed" if args.gradient_checkpointing else "cache",
    )


def parse(argv: list[str] | None) -> argparse.Namespace:
    """The arguments; ``rule`` is made of those about groups, ``deepspeed`` filled in under its launcher."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument_group("model").add_argument
    add("--model_path", default=PUBLISHED_BASE, help="base model: hub name or folder")
    add("--model_save_path", required=True, help="folder for the adapter, and for checkpoints below it")
    add("--lora_r", type=int, default=16, help="rank of the LoRA; its alpha is twice the rank")
    add("--lora_dropout", type=float, default=0.05)
    add("--prompt_layout", choices=LAYOUTS, default="published", help="negatives_first is read faster")
    add("--omit", nargs="+", choices=PARTS, default=[], help="leave out of the prompt, as an ablation does")
    add("--dtype", choices=("float32", "bfloat16"), default="bfloat16", help="of the frozen weights")
    add("--attn_implementation", help="sdpa (default) or eager, faster on a CPU for short prompts")
    add("--min_pixels", type=int, help="enlarge smaller photos; default: the base model's limit")
    add("--max_pixels", type=int, help="shrink larger photos; default: the base model's limit")

    add = parser.add_argument_group("data").add_argument
    add("--dataset", default=PUBLISHED_ROWS, help="GeoRanking parquet, or a folder of them")
    add("--num_samples", type=int, default=100_000, help="use the first so many rows")
    add("--eval_dataset", help="GeoRanking parquet of validation queries")
    add("--image_path", nargs="+", default=[], help="folder(s) of the query photos")
    add("--image_data_path", nargs="+", default=[], help="tar(s) or folder(s) of the gallery photos")
    add("--tar_index_path", help="index of the tar, or released pickle; default: beside it")
    add("--feature_cache", help="folder for the vision tower's features: photos are encoded once, not every epoch")
    add("--cache_image_features", action="store_true", help="the same in a temporary folder, for this run alone")
    add("--num_workers", type=int, default=2, help="processes that prepare batches")

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
    add("--learning_rate", type=float, default=1e-4)
    add("--lr_scheduler_type", default="linear", help="a name that transformers knows")
    add("--warmup_steps", type=float, default=0, help="steps, or below 1 a share of all steps")
    add("--weight_decay", type=float, default=0.01)
    add("--total_batch_size", type=int, default=4, help="groups in a step, over all processes")
    add("--per_device_train_batch_size", type=int, default=1)
    add("--per_device_eval_batch_size", type=int, default=1)
    add("--num_train_epochs", type=float, default=1)
    add("--max_steps", type=int, default=-1, help="overrides --num_train_epochs")
    add("--gradient_checkpointing", action="store_true", help="less memory, more time")
    add("--seed", type=int, default=42)

    add = parser.add_argument_group("running").add_argument
    add("--deepspeed", help=f"configuration; under the deepspeed launcher {ZERO2.name} by default")
    add("--local_rank", type=int, default=-1, help="given by the deepspeed launcher")
    add("--continue_ckpt_path", help="checkpoint, or `latest`: the newest in --model_save_path")
    add("--save_strategy", choices=("no", "steps", "epoch"), default="steps")
    add("--save_steps", type=int, default=500, help="the last two checkpoints are kept")
    add("--eval_steps", type=int, default=500)
    add("--logging_steps", type=int, default=10)
    add("--report_to", choices=("none", "wandb"), default="none")

    args = parser.parse_args(argv)
    if args.local_rank >= 0 and args.deepspeed is None:
        args.deepspeed = str(ZERO2)
    if not args.image_path and not args.image_data_path:
        args.image_data_path = [PUBLISHED_PHOTOS]
    try:
        args.rule = GroupRule(args.group_size, args.hard_pool, args.generated, args.easy_share, args.regional_km)
        check(args)
    except ValueError as error:
        parser.error(str(error))
    return args


def needed_files(args: argparse.Namespace) -> list[tuple[str, str | None]]:
    """(flag, path) of the data; None where nothing is needed."""
    names = ("image_path", "image_data_path")
    files = [(name, getattr(args, name)) for name in ("dataset", "eval_dataset", "gallery", "tar_index_path")]
    return files + [(name, path) for name in names for path in getattr(args, name)]


def check(args: argparse.Namespace) -> None:
    """Raise ValueError for arguments that do not go together."""
    together = args.per_device_train_batch_size * world_size()
    if args.total_batch_size < 1 or args.total_batch_size % together:
        raise ValueError(
            f"total_batch_size {args.total_batch_size} is no multiple of per_device_train_batch_size "
            f"{args.per_device_train_batch_size} times {world_size()} processes"
        )
    if args.K is not None and args.group_size < args.K:
        raise ValueError(f"K {args.K} is more than group_size {args.group_size}")
    if len(set(args.omit)) < len(args.omit):
        raise ValueError(f"omit names a part twice: {' '.join(args.omit)}")
    if not 0 <= args.lambda1 <= 1:
        raise ValueError(f"lambda1 {args.lambda1} is not between 0 and 1")
    if any(args.easy_share) and args.gallery is None:
        raise ValueError("easy_share needs gallery")
    if args.report_to == "wandb" and importlib.util.find_spec("wandb") is None:
        raise ValueError("report_to wandb needs the package wandb")
    if "LOCAL_RANK" not in os.environ and torch.cuda.device_count() > 1:
        raise ValueError("several GPUs need torchrun or deepspeed; for one, set CUDA_VISIBLE_DEVICES=0")


def shares(text: str) -> tuple[float, float]:
    """``START:END`` -> (start, end)."""
    start, end = text.split(":")
    return float(start), float(end)


def count_or_all(text: str) -> int | None:
    """A positive number, or None for ``all``."""
    if text == "all":
        return None
    if int(text) < 1:
        raise ValueError
    return int(text)


def world_size() -> int:
    """How many processes the launcher started."""
    return int(os.environ.get("WORLD_SIZE", 1))


def training_arguments(args: argparse.Namespace) -> TrainingArguments:
    on_cpu = not torch.cuda.is_available()
    if args.deepspeed and on_cpu:
        # On a CPU the Trainer starts torch.distributed alone, but ZeRO-3 shards the model while it is loaded.
        from deepspeed import init_distributed

        init_distributed()
    return TrainingArguments(
        output_dir=args.model_save_path,
        use_cpu=on_cpu,
        deepspeed=args.deepspeed,
        bf16=args.dtype == "bfloat16",
        per_device_train_batch_size=args.per_device_train_batch_size,
        per_device_eval_batch_size=args.per_device_eval_batch_size,
        gradient_accumulation_steps=args.total_batch_size // (args.per_device_train_batch_size * world_size()),
        num_train_epochs=args.num_train_epochs,
        max_steps=args.max_steps,
        learning_rate=args.learning_rate,
        lr_scheduler_type=args.lr_scheduler_type,
        warmup_steps=args.warmup_steps,
        weight_decay=args.weight_decay,
        seed=args.seed,
        logging_steps=args.logging_steps,
        eval_strategy="steps" if args.eval_dataset else "no",
        eval_steps=args.eval_steps,
        save_strategy=args.save_strategy,
        save_steps=args.save_steps,
        save_total_limit=2,
        report_to=args.report_to,
        dataloader_num_workers=args.num_workers,
        dataloader_pin_memory=not on_cpu,
        accelerator_config={"non_blocking": not on_cpu},
        train_sampling_strategy="sequential",  # TrainingGroups shuffles, so that an item knows its place
        remove_unused_columns=False,
        ddp_find_unused_parameters=False,
    )


def read_gallery(path: str) -> EasyPool:
    """The gallery of a metadata table; its texts are those that build_georanking.py writes."""
    metadata = read_metadata(path)
    problems = metadata_problems(path, metadata)
    metadata = metadata[metadata["LAT"].notna()]
    report(path, len(metadata), problems)
    return EasyPool.from_metadata(metadata, PROMPT_COLUMNS)


def shown_photos(rows: Iterable[GeoRankingRow], rule: GroupRule, gallery: EasyPool | None) -> list[str]:
    """The ids of all photos that groups of these rows can show, each once."""
    ids = dict.fromkeys(gallery.ids if gallery else ())
    for row in rows:
        ids |= dict.fromkeys([row.img_id, *row.ref_img_id[1 : 1 + rule.pool]])
    return list(ids)


def usable(
    path: str, rows: Sequence[GeoRankingRow], problems: list[str], rule: GroupRule, known: Container[str]
) -> list[GeoRankingRow]:
    """The rows that a group can be drawn from; the others, and the reader's ``problems``, are reported."""
    found, unusable = usable_rows(rows, rule, known)
    report(path, len(found), problems + unusable)
    if not found:
        raise ValueError(f"{path}: no usable row")
    return found


def report(name: str, usable: int, problems: Sequence[str], shown: int = 20) -> None:
    """How much of a file can be used, and what is wrong with the rest; only the first process speaks."""
    if int(os.environ.get("RANK", 0)):
        return
    print(f"{name}: {usable:,} usable, {len(problems):,} problems")
    for problem in problems[:shown]:
        print(f"  {problem}")
    if len(problems) > shown:
        print(f"  ... and {len(problems) - shown:,} more")


if __name__ == "__main__":
    main()
