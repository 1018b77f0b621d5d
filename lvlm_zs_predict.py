"""Ask a vision-language model where photos were taken ("zero-shot" candidates).

    python lvlm_zs_predict.py --api_key=sk-xxx --model_name=xxx --base_url=xxx --root_path=dataset/yfcc4k
    python lvlm_zs_predict.py --backend local --dataset earth --split test
    torchrun --nproc_per_node 4 lvlm_zs_predict.py --backend local --model Qwen/Qwen2-VL-7B-Instruct \\
        --root_path dataset/im2gps3k --text_path im2gps3k_places365.csv --image_path im2gps3ktest

The result is the metadata table, all its columns as they are, with a column `response`: the answers, word for
word, as a Python list, or None. Answers are kept in RESULT.csv.jsonl as they arrive; a second run asks only about
photos that have none, and with more --max_tokens about those whose answers were cut off. A photo that cannot be read or
gets no answer is named, the others go on, and the exit code is 1.

OpenAI's batch files cost half: `--write_batch requests.jsonl` writes what would be asked, `--read_batch FILE...` reads
results and errors back; flags are otherwise the same. Live runs leave out what a batch file asks about.

A local model answers greedily first and samples the other answers; processes started by torchrun share the
photos. The API key is best kept in OPENAI_API_KEY: other users of a machine can read command lines.
"""

import argparse
import hashlib
import json
import logging
import os
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from utils.cli.command import run_command
from utils.cli.flags import add_device, add_quantize, at_least, check_quantize, positive, script_parser
from utils.cli.given import given_flags, refuse
from utils.data_paths import BENCHMARKS, EARTH_SPLITS, check_files
from utils.jobs.outputs import check_outputs
from utils.jobs.processes import Processes, SharedWork

if TYPE_CHECKING:
    from utils.generation.batch_files import BatchForm
    from utils.generation.journal import Journal
    from utils.generation.tally import Tally
    from utils.photos.store import ImageStore

logger = logging.getLogger(__name__)

BATCHES = ("write_batch", "read_batch", "batch_files")
FLAGS_OF = {
    "api": ("api_key", "model_name", "base_url", "process", "timeout", "max_side", *BATCHES),
    "local": ("model", "seed", "batch_size", "dtype", "quantize", "device"),
}


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = script_parser(__doc__)
    parser.add_argument("--backend", choices=("api", "local"), default="api", help="who answers (%(default)s)")
    parser.add_argument("--dataset", choices=BENCHMARKS, help="sets the defaults of paths and --model")
    parser.add_argument("--split", choices=("train", *EARTH_SPLITS), help="of --dataset earth (test)")
    files = parser.add_argument_group("files, relative to --root_path")
    files.add_argument("--root_path", type=Path, help="folder of the benchmark")
    files.add_argument("--text_path", help="metadata table (yfcc4k_places365.csv)")
    files.add_argument("--image_path", help="folder of the photos (yfcc4k)")
    files.add_argument(
        "--result_path",
        help="generation table (llm_predict_results_zs_{model}.csv; earth: generation.csv)",
    )
    answers = parser.add_argument_group("answers")
    answers.add_argument("--num_samples", type=at_least(1), help="answers a photo (10; earth: 3)")
    answers.add_argument("--temperature", type=positive, default=1.2, help="of the sampling (%(default)s)")
    answers.add_argument("--max_tokens", type=at_least(1), default=200, help="longest answer, in tokens (%(default)s)")
    api = parser.add_argument_group("--backend api")
    api.add_argument("--api_key", help="default: the environment's OPENAI_API_KEY")
    api.add_argument("--model_name", help="the server's name of the model")
    api.add_argument(
        "--base_url",
        help="of an OpenAI-compatible server, with or without /chat/completions (OPENAI_BASE_URL, else OpenAI's)",
    )
    api.add_argument("--process", type=at_least(1), default=8, help="photos asked about at a time (%(default)s)")
    api.add_argument("--timeout", type=positive, default=120, help="seconds a request may take (%(default)s)")
    api.add_argument(
        "--max_side",
        type=at_least(1),
        default=1024,
        help="longest side in pixels of the photos that are sent; larger ones are reduced (%(default)s)",
    )
    batches = parser.add_argument_group("--backend api, by OpenAI's batch files")
    either = batches.add_mutually_exclusive_group()
    either.add_argument(
        "--write_batch", type=Path, help="ask nobody: write the requests to NAME-00001.jsonl, ..., for this NAME.jsonl"
    )
    either.add_argument(
        "--read_batch", type=Path, nargs="+", help="ask nobody: read these result and error files into the journal"
    )
    batches.add_argument("--batch_files", type=at_least(1), help="files that --write_batch writes at most")
    local = parser.add_argument_group("--backend local")
    local.add_argument("--model", help="folder or hub name of a vision-language model")
    local.add_argument("--seed", type=int, default=0, help="of the sampling (%(default)s)")
    local.add_argument("--batch_size", type=at_least(1), default=8, help="photos at a time (%(default)s)")
    local.add_argument(
        "--dtype",
        default="auto",
        choices=("auto", "float32", "bfloat16"),
        help="auto: that of the checkpoint, or float32 where the CPU has no instructions for it",
    )
    add_quantize(local.add_argument)
    add_device(local.add_argument)
    args = parser.parse_args(arguments)

    other = "local" if args.backend == "api" else "api"
    refuse(parser, given_flags(parser, arguments, args), FLAGS_OF[other], f"with --backend {args.backend}")
    try:
        check_quantize(args)
    except ValueError as error:
        parser.error(str(error))
    if args.batch_files and not args.write_batch:
        parser.error("--batch_files belongs to --write_batch")
    set_defaults(args)
    if args.split and args.dataset != "earth":
        parser.error("--split belongs to --dataset earth")
    if args.root_path is None:
        parser.error("--root_path or --dataset is needed")
    if args.backend == "api" and not args.model_name:
        parser.error("--backend api needs --model_name")
    if args.backend == "local" and not args.model:
        parser.error("--backend local needs --model or --dataset")
    if args.backend == "api" and not Processes.from_environment().alone:
        parser.error("--backend api runs in one process; --process says how much it asks at a time")
    return args


def set_defaults(args: argparse.Namespace) -> None:
    """Give what ``args`` leaves open the values of its dataset, or the published ones."""
    earth = args.dataset == "earth"
    if args.dataset:
        known = BENCHMARKS[args.dataset]
        photos, table = (Path(path.format(split=args.split or "test")) for path in (known.image_path, known.candidates))
        args.root_path = args.root_path or table.parent
        args.image_path = args.image_path or os.path.relpath(photos, table.parent)
        released = args.dataset in ("im2gps3k", "yfcc4k")
        args.text_path = args.text_path or (f"{args.dataset}_places365.csv" if released else "metadata.csv")
        args.model = args.model or BENCHMARKS[args.dataset].model
    args.image_path = args.image_path or "yfcc4k"
    args.text_path = args.text_path or "yfcc4k_places365.csv"
    args.result_path = args.result_path or ("generation.csv" if earth else "llm_predict_results_zs_{model}.csv")
    args.num_samples = args.num_samples if args.num_samples is not None else 3 if earth else 10


def main(arguments: Sequence[str] | None = None) -> int:
    args = parse_arguments(arguments)
    stopped = "stopped; what is answered is kept, and the same command goes on from there"
    return run_command(lambda: predict(args), RuntimeError, quiet=args.quiet, stopped=stopped)


def predict(args: argparse.Namespace) -> list[str]:
    """Ask about every photo that has no answers yet and write the table. Returns what went wrong."""
    text_path, image_path = args.root_path / args.text_path, args.root_path / args.image_path
    check_files([("text_path", text_path), ("image_path", image_path)])
    check_files(("read_batch", path) for path in args.read_batch or ())
    name = (args.model_name if args.backend == "api" else args.model).rstrip("/").split("/")[-1]
    result_path = args.root_path / args.result_path.format(model=name)
    journal_path = result_path.with_name(result_path.name + ".jsonl")
    check_outputs([("--result_path", result_path), ("--result_path", journal_path)])
    if args.backend == "local":
        device(args)  # raises, before all weights are read for their hash

    from utils.generation.journal import Journal
    from utils.generation.tally import Tally, summary
    from utils.photos.store import ImageStore
    from utils.tables.generation_table import write_generation_table
    from utils.tables.metadata import read_whole_metadata

    metadata, store = read_whole_metadata(text_path), ImageStore.from_paths([image_path])
    processes = Processes.from_environment()
    with Journal(journal_path, how_asked(args), args.max_tokens, processes.rank) as journal:

        def ask(processes: Processes) -> list[str]:
            journal.read()
            # The list is the same in all processes, whatever each of them knows of what the others have finished.
            work = SharedWork(metadata["IMG_ID"].unique().tolist(), processes, "photos")
            missing = [img_id for img_id in work.items if journal.lacks(img_id)]
            tally = Tally(journal, len(journal.in_batches if args.read_batch else missing), work)
            if args.write_batch is None and args.read_batch is None and journal.in_batches:
                logger.info("%d photos are left out: batch files ask about them", len(journal.in_batches))
            with tally.bar:
                if args.read_batch:
                    read_batch(args, tally)
                elif missing:
                    (ask_server if args.backend == "api" else ask_model)(args, missing, store, tally)
            journal.sync()
            return tally.problems

        if args.write_batch:
            missing = filter(journal.lacks, metadata["IMG_ID"].unique().tolist())
            return write_batch(args, missing, store, journal)
        problems = processes.together(ask)
        if problems is None:
            return []
        journal.read()  # what the other processes added
        write_generation_table(result_path, metadata, journal)
        replies = (journal.reply(img_id) for img_id in metadata["IMG_ID"] if img_id in journal)
        print(f"{result_path}: {summary(replies, len(metadata))}")
    return [problem for of_process in problems for problem in of_process]


def sampling(args: argparse.Namespace) -> dict[str, Any]:
    names = ("num_samples", "temperature", *(["seed"] if args.backend == "local" else []))
    return {name: getattr(args, name) for name in names}


def how_asked(args: argparse.Namespace) -> dict[str, Any]:
    """What answers depend on, for the first line of the journal; their records say by what --max_tokens."""
    if args.backend == "api":
        return {"backend": "api", "model": args.model_name, **sampling(args), "max_side": args.max_side}
    from utils.model.fingerprints import weights_hash

    how = {"backend": "local", "model": weights_hash(args.model), "dtype": args.dtype, **sampling(args)}
    return how if args.quantize is None else how | {"quantize": args.quantize}


def ask_server(args: argparse.Namespace, image_ids: Sequence[str], store: "ImageStore", tally: "Tally") -> None:
    from utils.generation.api import ApiModel, ask_all

    model = ApiModel(
        args.model_name,
        args.api_key,
        args.base_url,
        max_tokens=args.max_tokens,
        max_side=args.max_side,
        timeout=args.timeout,
        **sampling(args),
    )
    ask_all(model, image_ids, store, tally.take, args.process)


def batch_form(args: argparse.Namespace) -> "BatchForm":
    from utils.generation.batch_files import BatchForm

    settings = hashlib.sha256(json.dumps(how_asked(args), sort_keys=True).encode()).hexdigest()
    asked = args.num_samples, args.temperature, args.max_tokens, args.max_side
    return BatchForm(args.model_name, *asked, settings)


def write_batch(
    args: argparse.Namespace, image_ids: Iterable[str], store: "ImageStore", journal: "Journal"
) -> list[str]:
    """Write request files about photos; returns what is wrong with those that cannot be read."""
    from utils.generation.batch_files import write_requests

    how = {"most_files": args.batch_files, "workers": args.process}
    files, problems = write_requests(args.write_batch, image_ids, store, batch_form(args), journal, **how)
    for file in files:
        print(file)
    if not files:
        print("nothing is left to ask")
    return problems


def read_batch(args: argparse.Namespace, tally: "Tally") -> None:
    """Read result files into the journal: what has answers already is passed over."""
    from utils.generation.batch_files import read_results

    photos = frozenset(tally.work.items)
    for path in args.read_batch:
        for found in read_results(path, batch_form(args), photos):
            if isinstance(found, str):
                tally.problems.append(found)
                continue
            batch, reply = found
            if tally.journal.lacks_answers(reply.img_id):
                if reply.problem is not None:
                    tally.journal.release(reply.img_id, batch)
                tally.take(reply)
    if tally.journal.in_batches:
        logger.info("%d photos are in batch files of which no result was read", len(tally.journal.in_batches))


def device(args: argparse.Namespace) -> str:
    """Where a local model computes. Raises ``ValueError`` as ``checked_device`` does."""
    from utils.model.device import checked_device, own_device

    return str(checked_device(args.device or own_device(Processes.from_environment().local_rank)))


def ask_model(args: argparse.Namespace, image_ids: Sequence[str], store: "ImageStore", tally: "Tally") -> None:
    from utils.generation.local import LocalModel, ask_local

    model = LocalModel.from_pretrained(args.model, args.dtype, device(args), args.quantize)
    missing = set(image_ids)  # of them this process asks about those that no other takes
    unanswered = (img_id for img_id in tally.work if img_id in missing)
    settings = sampling(args) | {"max_tokens": args.max_tokens}
    for reply in ask_local(model, unanswered, store, args.batch_size, **settings):
        tally.take(reply)


if __name__ == "__main__":
    sys.exit(main())
