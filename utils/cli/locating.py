"""Flags that say where the candidates of one's own photos come from and who decides, and what goes with what."""

from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Mapping
from typing import Any

from utils.cli.flags import at_least, probability
from utils.cli.given import refuse
from utils.decoding import METHODS, WITHOUT_RANKER
from utils.geography.geodesy import THRESHOLDS_KM

# With none of these it is this machine that chooses.
CHOICES = ("candidates", "index", "retriever", "generate", "model_path", "ranker", "model")


def add_sources(add: Callable[..., Any], defaults: Mapping[str, Any], candidates: str) -> None:
    """Where candidates come from, but for a gallery's photos; ``add`` is a group's ``add_argument``.

    ``defaults`` are those of the flags by their names, None or 0 where it has none; ``candidates`` is that flag's help.
    """
    add("--candidates", default=defaults.get("candidates"), help=candidates)
    add("--index", default=defaults.get("index"), help="index folder of a gallery, whose similar photos are candidates")
    add("--retriever", choices=("geoclip",), default=defaults.get("retriever"), help="GeoCLIP's points as candidates")
    add("--geoclip", help="folder of a GeoCLIP release; default: the weights of its PyPI package")
    add("--clip", help="folder or hub name of its CLIP; default: the one that the release names")
    count = {"type": at_least(0), "default": defaults.get("generate", 0)}
    add("--generate", **count, help="so many guesses as candidates (%(default)s)")
    name, url = defaults.get("model_name"), defaults.get("base_url")
    add("--model_name", default=name, help="who guesses, behind a server; default: --model, on this machine")
    add("--base_url", default=url, help="the server's address (OPENAI_BASE_URL, else OpenAI's)")


def add_who_decides(add: Callable[..., Any], defaults: Mapping[str, Any]) -> None:
    """The ranker or the vote; ``add`` and ``defaults`` as in ``add_sources``."""
    add("--model_path", default=defaults.get("model_path"), help="adapter folder of a GeoRanker")
    add("--model", default=defaults.get("model"), help="its base model, which also guesses: hub name or folder")
    add(
        "--ranker",
        choices=("model", *WITHOUT_RANKER),
        help="the GeoRanker of --model_path, or a vote of the candidates; default: the GeoRanker where there is one",
    )
    add(
        "--decode",
        choices=list(METHODS),
        default="argmax",
        help="see utils/decoding.py; fused: with retrieval's similarities",
    )


def add_demand(add: Callable[..., Any], min_confidence: float | None = None, within: int = 200) -> None:
    """How sure an answer has to be; ``add`` is a group's ``add_argument``."""
    add("--min_confidence", type=probability, default=min_confidence, help="less sure answers are `not sure` (0 to 1)")
    add("--within", type=int, choices=THRESHOLDS_KM, default=within, help="of so many km (%(default)s)")


def check_demand(args: Namespace, parser: ArgumentParser, given: set[str]) -> None:
    """Refuse what has no effect on how sure an answer has to be, or on a vote."""
    if args.min_confidence is None:
        refuse(parser, given, ("within",), "without --min_confidence")
    if args.ranker in WITHOUT_RANKER:
        refuse(parser, given, ("decode",), f"with --ranker {args.ranker}")
        if args.model_path is not None:
            parser.error(f"--model_path: no use with --ranker {args.ranker}")


def check_sources(args: Namespace, parser: ArgumentParser, given: set[str], listed: bool = False) -> None:
    """The same of what says where candidates come from; ``listed``: places stand elsewhere than in ``--candidates``."""
    if args.index is None:
        refuse(parser, given, ("image_data_path", "tar_index_path", "exclude_same_id"), "without --index")
        if args.retriever is None:
            useless = ("topn",) if args.generate else ("topn", "merge_km")
            refuse(parser, given, useless, "without --index or --retriever: all places of a list are ranked")
    elif args.image_data_path is None:
        parser.error("--index needs --image_data_path, the photos of its gallery")
    if args.retriever is None:
        refuse(parser, given, ("geoclip", "clip"), "without --retriever geoclip")
    if args.model_name is None:
        refuse(parser, given, ("base_url",), "without --model_name")
    if not args.chosen:
        refuse(parser, given, ("decode", "quantize"), "where nothing says who decides, or where candidates come from")
    elif not (args.candidates or listed or args.index or args.retriever or args.generate):
        parser.error("nothing says where candidates come from: --retriever, --index, --generate or --candidates")
    if (args.index or args.retriever) and args.topn < 1 and not args.generate:
        parser.error("--topn and --generate leave no place to rank")


def check_models(args: Namespace, parser: ArgumentParser, given: set[str]) -> None:
    """The same of who guesses and who decides."""
    if args.generate and not (args.model_name or args.model or args.model_path):
        parser.error("--generate needs --model, or --model_name behind a server: who guesses")
    if args.model_name is not None and args.chosen and not args.generate:
        parser.error("--model_name: no use without --generate")
    if args.ranker == "model" and args.model_path is None:
        parser.error("--ranker model needs --model_path, the folder of an adapter")
    if args.model_path is None:
        refuse(parser, given, ("decode",), "without --model_path: the candidates vote")
    if args.model_path is None and (args.model_name or not args.generate):
        refuse(parser, given, ("quantize",), "without a model on this machine, which ranks or guesses")
        if args.model is not None:
            parser.error("--model: no use without --model_path or --generate")
