"""Ask a vision-language model where photos were taken ("zero-shot" candidates).

    python lvlm_zs_predict.py --api_key=sk-xxx --model_name=xxx --base_url=xxx --root_path=dataset/yfcc4k
    python lvlm_zs_predict.py --backend local --model checkpoints/earth-base --root_path dataset/earth/test \\
        --text_path metadata.csv --image_path images --result_path generation.csv --num_samples 3

The result is the metadata table with a column `response`: the answers, word for word, as a Python list, or
None. Answers are kept in RESULT.jsonl as they arrive; a second run asks only about photos that have none. A
photo that cannot be read or gets no answer is named, the others go on, and the exit code is 1.

A local model answers greedily first and samples the other answers. The API key may also stand in
OPENAI_API_KEY.
"""

import argparse
import sys
from pathlib import Path

import openai
from tqdm import tqdm

from utils.answers import parse_answers
from utils.command import run_command
from utils.embedding import fingerprint
from utils.generation import ApiModel, Journal, LocalModel, ask_api, ask_local
from utils.images import ImageStore
from utils.tables import read_metadata, write_generation_table


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
        settings = {"backend": "api", "model": args.model_name, **sampling}
    else:
        sampling["seed"] = args.seed
        settings = {"backend": "local", "model": fingerprint(args.model), "dtype": args.dtype, **sampling}
    journal = Journal(result_path.with_name(result_path.name + ".jsonl"), settings)

    missing = [img_id for img_id in metadata["IMG_ID"].unique() if img_id not in journal.answers]
    problems = []
    if missing:
        if args.backend == "api":
            model = ApiModel(args.model_name, args.api_key, args.base_url, **sampling)
            replies = ask_api(model, missing, store, args.process)
        else:
            model = LocalModel.from_pretrained(args.model, args.dtype, args.device)
            replies = ask_local(model, missing, store, args.batch_size, **sampling)
        for reply in tqdm(replies, total=len(missing), desc="asking", unit="photo"):
            if reply.problem is None:
                journal.add(reply.img_id, reply.answers)
            else:
                problems.append(reply.problem)
    write_generation_table(result_path, metadata, journal.answers)

    answers = [answer for img_id in metadata["IMG_ID"] for answer in journal.answers.get(img_id, ())]
    places, unusable = parse_answers(answers)
    print(f"{result_path}: {len(places)} places for {len(metadata)} photos; {unusable} answers name no usable place")
    return problems


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backend", choices=("api", "local"), default="api", help="who answers (%(default)s)")
    files = parser.add_argument_group("files, relative to --root_path")
    files.add_argument("--root_path", type=Path, required=True, help="folder of the benchmark")
    files.add_argument("--text_path", default="yfcc4k_places365.csv", help="metadata table (%(default)s)")
    files.add_argument("--image_path", default="yfcc4k", help="folder of the photos (%(default)s)")
    files.add_argument(
        "--result_path", default="llm_predict_results_zs_{model}.csv", help="generation table (%(default)s)"
    )
    answers = parser.add_argument_group("answers")
    answers.add_argument("--num_samples", type=int, default=10, help="answers a photo (%(default)s)")
    answers.add_argument("--temperature", type=float, default=1.2, help="of the sampling (%(default)s)")
    answers.add_argument("--max_tokens", type=int, default=200, help="longest answer (%(default)s)")
    api = parser.add_argument_group("--backend api")
    api.add_argument("--api_key", help="default: the environment's OPENAI_API_KEY")
    api.add_argument("--model_name", help="the server's name of the model")
    api.add_argument("--base_url", help="of an OpenAI-compatible server (default: OpenAI's)")
    api.add_argument("--process", type=int, default=8, help="requests at a time (%(default)s)")
    local = parser.add_argument_group("--backend local")
    local.add_argument("--model", help="folder or hub name of a Qwen-VL checkpoint")
    local.add_argument("--seed", type=int, default=0, help="of the sampling (%(default)s)")
    local.add_argument("--batch_size", type=int, default=8, help="photos at a time (%(default)s)")
    local.add_argument(
        "--dtype",
        default="auto",
        choices=("auto", "float32", "bfloat16"),
        help="auto: that of the checkpoint",
    )
    local.add_argument("--device", default="cpu", help="cpu, cuda, ... (%(default)s)")
    return parser


def main(argv: list[str] | None = None) -> int:
    options = parser()
    args = options.parse_args(argv)
    if args.backend == "api" and not args.model_name:
        options.error("--backend api needs --model_name")
    if args.backend == "local" and not args.model:
        options.error("--backend local needs --model")
    return run_command(lambda: predict(args), RuntimeError, openai.OpenAIError)


if __name__ == "__main__":
    sys.exit(main())
