"""Ask a vision-language model where photos were taken ("zero-shot" candidates).

    python lvlm_zs_predict.py --api_key=sk-xxx --model_name=xxx --base_url=xxx --root_path=dataset/yfcc4k
    python lvlm_zs_predict.py --backend local --dataset earth --split test
    torchrun --nproc_per_node 4 lvlm_zs_predict.py --backend local --model Qwen/Qwen2-VL-7B-Instruct \\
        --root_path dataset/im2gps3k --text_path im2gps3k_places365.csv --image_path im2gps3ktest

The result is the metadata table with a column `response`: the answers, word for word, as a Python list, or
None. Answers are kept in RESULT.csv.jsonl as they arrive; a second run asks only about photos that have none. A
photo that cannot be read or gets no answer is named, the others go on, and the exit code is 1.

A local model answers greedily first and samples the other answers; processes started by torchrun share the
photos. The API key is best kept in OPENAI_API_KEY: other users of a machine can read command lines.
"""

import argparse
import asyncio
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import openai
import torch
from tqdm import tqdm

from utils.cli.command import run_command
from utils.data_paths import BENCHMARKS
from utils.generation.api import ApiModel, ask_api
from utils.generation.journal import Journal, Reply
from utils.generation.local import LocalModel, ask_local
from utils.geography.answers import parse_answer
from utils.jobs.processes import Processes, SharedWork
from utils.model.fingerprints import weights_hash
from utils.photos.store import ImageStore
from utils.tables.generation_table import write_generation_table
from utils.tables.metadata import read_metadata


class Progress:
    """Keeps replies in the journal as they arrive, and shows how far the run is and what it costs.

    The bar shows how far all processes are, the figures beside it what this one met.
    """

    def __init__(self, journal: Journal, total: int, work: SharedWork[str], show: bool = True) -> None:
        self.journal = journal
        self.work = work
        self.answered = 0
        self.problems: list[str] = []
        self.refused = self.tokens = 0
        self.bar = tqdm(total=total, desc="asking", unit="photo", smoothing=0, disable=not show)

    def take(self, reply: Reply) -> None:
        if reply.problem is None:
            self.journal.add(reply.img_id, reply.answers)
            self.answered += 1
            self.refused += not any(reply.answers)
            self.tokens += reply.tokens
        else:
            self.problems.append(reply.problem)
        self.bar.set_postfix_str(f"{len(self.problems)} failed, {self.refused} refused{self._cost()}", refresh=False)
        self.bar.update(self.work.finish() - self.bar.n)

    def _cost(self) -> str:
        """The tokens used, and those of the whole run if its other photos cost the same."""
        if not self.tokens:
            return ""
        whole_run = self.tokens / self.answered * self.bar.total
        used, all_of_them = tqdm.format_sizeof(self.tokens), tqdm.format_sizeof(whole_run)
        return f", {used} of about {all_of_them} tokens"


def predict(args: argparse.Namespace) -> list[str]:
    """Ask about every photo that has no answers yet and write the table. Returns what went wrong."""
    name = (args.model_name if args.backend == "api" else args.model).rstrip("/").split("/")[-1]
    result_path = args.root_path / args.result_path.format(model=name)
    metadata = read_metadata(args.root_path / args.text_path)
    store = ImageStore.from_paths([args.root_path / args.image_path])
    sampling = {
        "num_samples": args.num_samples,
        "temperature": args.temperature,
        "max_tokens": args.max_tokens,
    }
    if args.backend == "api":
        settings = {"backend": "api", "model": args.model_name, **sampling, "max_side": args.max_side}
    else:
        sampling["seed"] = args.seed
        settings = {"backend": "local", "model": weights_hash(args.model), "dtype": args.dtype, **sampling}
    processes = Processes.from_environment()
    journal_path = result_path.with_name(result_path.name + ".jsonl")
    journal = Journal(journal_path, settings, processes.rank)

    # The list is the same in all processes, whatever each of them knows of what the others have finished by now.
    work = SharedWork(metadata["IMG_ID"].unique().tolist(), processes, "photos")
    missing = [img_id for img_id in work.items if img_id not in journal]
    progress = Progress(journal, len(missing), work, show=processes.rank == 0)
    with progress.bar:
        if missing and args.backend == "api":
            model = ApiModel(
                args.model_name,
                args.api_key,
                args.base_url,
                max_side=args.max_side,
                timeout=args.timeout,
                **sampling,
            )
            asyncio.run(ask_api(model, missing, store, progress.take, args.process))
        elif missing:
            device = args.device or (f"cuda:{processes.local_rank}" if torch.cuda.is_available() else "cpu")
            model = LocalModel.from_pretrained(args.model, args.dtype, device)
            for reply in ask_local(model, (i for i in work if i not in journal), store, args.batch_size, **sampling):
                progress.take(reply)

    problems = processes.gather(progress.problems)
    if problems is None:
        return []
    if processes.count > 1:
        journal = Journal(journal_path, settings)  # with what the other processes added
    write_generation_table(result_path, metadata, journal)
    print(f"{result_path}: {summary(journal, metadata['IMG_ID'])}")
    return [problem for of_process in problems for problem in of_process]


def summary(journal: Journal, image_ids: Sequence[str]) -> str:
    """How many answers are of use."""
    count = Counter()
    for img_id in image_ids:
        for answer in journal.get(img_id, ()):
            count["place" if parse_answer(answer) else "nowhere" if answer.strip() else "empty"] += 1
    return (
        f"{count['place']} places for {len(image_ids)} photos; "
        f"{count['nowhere'] + count['empty']} answers name no usable place, {count['empty']} of them are empty"
    )


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backend", choices=("api", "local"), default="api", help="who answers (%(default)s)")
    parser.add_argument("--dataset", choices=BENCHMARKS, help="sets the defaults of paths and --model")
    parser.add_argument("--split", choices=("train", "val", "test"), help="of --dataset earth (test)")
    files = parser.add_argument_group("files, relative to --root_path")
    files.add_argument("--root_path", type=Path, help="folder of the benchmark")
    files.add_argument("--text_path", help="metadata table (yfcc4k_places365.csv)")
    files.add_argument("--image_path", help="folder of the photos (yfcc4k)")
    files.add_argument(
        "--result_path",
        help="generation table (llm_predict_results_zs_{model}.csv; earth: generation.csv)",
    )
    answers = parser.add_argument_group("answers")
    answers.add_argument("--num_samples", type=int, help="answers a photo (10; earth: 3)")
    answers.add_argument("--temperature", type=float, default=1.2, help="of the sampling (%(default)s)")
    answers.add_argument("--max_tokens", type=int, default=200, help="longest answer (%(default)s)")
    api = parser.add_argument_group("--backend api")
    api.add_argument("--api_key", help="default: the environment's OPENAI_API_KEY")
    api.add_argument("--model_name", help="the server's name of the model")
    api.add_argument(
        "--base_url",
        help="of an OpenAI-compatible server, with or without /chat/completions (OPENAI_BASE_URL, else OpenAI's)",
    )
    api.add_argument("--process", type=int, default=8, help="photos asked about at a time (%(default)s)")
    api.add_argument("--timeout", type=float, default=120, help="seconds a server may stay silent (%(default)s)")
    api.add_argument(
        "--max_side",
        type=int,
        default=1024,
        help="longest side in pixels of the photos that are sent; larger ones are reduced (%(default)s)",
    )
    local = parser.add_argument_group("--backend local")
    local.add_argument("--model", help="folder or hub name of a vision-language model")
    local.add_argument("--seed", type=int, default=0, help="of the sampling (%(default)s)")
    local.add_argument("--batch_size", type=int, default=8, help="photos at a time (%(default)s)")
    local.add_argument(
        "--dtype",
        default="auto",
        choices=("auto", "float32", "bfloat16"),
        help="auto: that of the checkpoint",
    )
    local.add_argument("--device", help="default: the process's own GPU where there is one, else cpu")
    return parser


def set_defaults(args: argparse.Namespace) -> None:
    """Give what ``args`` leaves open the values of its dataset, or the published ones."""
    earth = args.dataset == "earth"
    if args.dataset:
        photos = Path(BENCHMARKS[args.dataset].image_path.format(split=args.split or "test"))
        args.root_path = args.root_path or photos.parent
        args.image_path = args.image_path or photos.name
        args.text_path = args.text_path or ("metadata.csv" if earth else f"{args.dataset}_places365.csv")
        args.model = args.model or BENCHMARKS[args.dataset].model
    args.image_path = args.image_path or "yfcc4k"
    args.text_path = args.text_path or "yfcc4k_places365.csv"
    args.result_path = args.result_path or ("generation.csv" if earth else "llm_predict_results_zs_{model}.csv")
    args.num_samples = args.num_samples if args.num_samples is not None else 3 if earth else 10


def main(argv: list[str] | None = None) -> int:
    options = parser()
    args = options.parse_args(argv)
    set_defaults(args)
    if args.split and args.dataset != "earth":
        options.error("--split belongs to --dataset earth")
    if args.root_path is None:
        options.error("--root_path or --dataset is needed")
    if args.backend == "api" and not args.model_name:
        options.error("--backend api needs --model_name")
    if args.backend == "local" and not args.model:
        options.error("--backend local needs --model or --dataset")
    if args.backend == "api" and Processes.from_environment().count > 1:
        options.error("--backend api runs in one process; --process says how much it asks at a time")
    for flag in ("num_samples", "temperature", "max_tokens", "process", "timeout", "max_side", "batch_size"):
        if not getattr(args, flag) > 0:
            options.error(f"--{flag} must be positive")
    try:
        return run_command(lambda: predict(args), RuntimeError, openai.OpenAIError)
    except KeyboardInterrupt:
        print("stopped; what is answered is kept, and the same command goes on from there", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
