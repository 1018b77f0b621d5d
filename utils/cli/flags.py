"""Flags that several scripts share, the types that check them, and what they mean where they are left out."""

import math
from argparse import ArgumentParser, ArgumentTypeError, Namespace, RawDescriptionHelpFormatter
from collections.abc import Callable
from typing import Any, NoReturn

from utils.data_paths import BENCHMARKS, Benchmark
from utils.jobs.packages import check_package
from utils.model.quantizations import QUANTIZATIONS


class ScriptParser(ArgumentParser):
    """A parser whose errors are one line: below the usage of a script with many flags they would not be seen."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: error: {message}\n")


def script_parser(description: str, module: str | None = None) -> ScriptParser:
    """The parser of a script, with what every script has; ``module`` is what ``python -m`` runs, None for a file."""
    parser = ScriptParser(
        prog=module and f"python -m {module}", description=description, formatter_class=RawDescriptionHelpFormatter
    )
    add_quiet(parser.add_argument)
    return parser


def add_quiet(add: Callable[..., Any], **options: Any) -> None:
    """``--quiet``; ``add`` is a parser's or group's ``add_argument``."""
    add("--quiet", action="store_true", help="no progress and no notes, only results and problems", **options)


FLASH = "flash_attention_2"

# ---- types ----


def at_least(least: float, number: type[int] | type[float] = int, most: float | None = None) -> Callable[[str], Any]:
    """The type of a flag that is a finite number of at least ``least``, and of at most ``most`` unless that is None."""

    def parse(text: str) -> int | float:
        value = number(text)
        if not least <= value < math.inf:
            raise ArgumentTypeError(f"{text}: it is at least {least}")
        if most is not None and value > most:
            raise ArgumentTypeError(f"{text}: it is at most {most}")
        return value

    parse.__name__ = number.__name__  # argparse names it where the text is no number
    return parse


def positive(text: str) -> float:
    """The type of a flag that is a finite number above 0."""
    value = float(text)
    if not 0 < value < math.inf:
        raise ArgumentTypeError(f"{text}: it must be positive")
    return value


def probability(text: str) -> float:
    """The type of a flag that lies between 0 and 1."""
    value = float(text)
    if not 0 <= value <= 1:
        raise ArgumentTypeError(f"{text}: it lies between 0 and 1")
    return value


# ---- groups of flags ----


def add_device(add: Callable[..., Any]) -> None:
    """``--device``; ``add`` is a parser's or group's ``add_argument``."""
    add("--device", help="default: the process's own GPU where there is one, else cpu")


def add_workers(add: Callable[..., Any], **options: Any) -> None:
    """``--num_workers``; ``add`` is a parser's or group's ``add_argument``."""
    help = "processes that decode photos (%(default)s)"
    add("--num_workers", "--workers", **{"type": at_least(0), "help": help} | options)


def add_gallery_photos(add: Callable[..., Any], **options: Any) -> None:
    """``--image_data_path`` and the index of its tar; ``add`` is a parser's or group's ``add_argument``."""
    add("--image_data_path", **{"help": "tar, zip or folder of the gallery photos"} | options)
    add("--tar_index_path", help="index of the tar, or released pickle; default: beside it")


def add_candidate_choice(add: Callable[..., Any], topn: int, topn_zs: int) -> None:
    """How many candidates of a query are ranked; ``add`` is a parser's or group's ``add_argument``."""
    add("--topn", type=at_least(0), default=topn, help="retrieved candidates of each query (%(default)s)")
    add("--topn_zs", type=at_least(0), default=topn_zs, help="generated candidates of each query (%(default)s)")
    add(
        "--merge_km",
        type=at_least(0, float),
        default=0,
        help="drop candidates so near a better one, take further ones; 0: off",
    )


def add_vision_attention(add: Callable[..., Any]) -> None:
    """``--vision_attn``; ``add`` is a parser's or group's ``add_argument``."""
    add(
        "--vision_attn",
        choices=("sdpa", "eager", FLASH),
        help="attention of the vision tower alone; default: as --attn_implementation",
    )


def add_quantize(add: Callable[..., Any]) -> None:
    """``--quantize``; ``add`` is a parser's or group's ``add_argument``."""
    add(
        "--quantize",
        choices=QUANTIZATIONS,
        help="load the language model's linear layers in fewer bits: less memory, other results; see docs/memory.md",
    )


# ---- what flags need ----


def check_candidate_choice(args: Namespace, parser: ArgumentParser) -> None:
    """End in an error of ``parser`` where ``--topn`` and ``--topn_zs`` are both 0."""
    if not args.topn and not args.topn_zs:
        parser.error("--topn and --topn_zs leave no place to rank: at least one of them is above 0")


def check_quantize(args: Namespace) -> None:
    """Raise ``ValueError`` where ``--quantize`` is given and its package is missing."""
    if args.quantize is not None:
        check_package("quantize", "bitsandbytes", "quantize")


def check_vision_attention(args: Namespace) -> None:
    """Raise ``ValueError`` where ``--vision_attn`` needs a package that is missing, or weights of another precision."""
    if args.vision_attn == FLASH:
        check_package(f"vision_attn {FLASH}", "flash-attn", "flash-attn", "--no-build-isolation ")
        if args.dtype == "float32":
            raise ValueError(f"vision_attn {FLASH} takes 16-bit weights: not dtype float32")


def attention(args: Namespace, device: str) -> str | dict[str, str] | None:
    """``--attn_implementation`` and ``--vision_attn`` as ``GeoRanker.from_pretrained`` takes them.

    ``device`` is a type such as cpu or cuda. Raises ``ValueError`` where there is no GPU for what needs one.
    """
    if args.vision_attn is None:
        return args.attn_implementation
    if args.vision_attn == FLASH and device != "cuda":
        raise ValueError(f"vision_attn {FLASH} needs a GPU, not device {device}")
    return {"text_config": args.attn_implementation or "sdpa", "vision_config": args.vision_attn}


# ---- defaults ----


def choose_base(args: Namespace, parser: ArgumentParser, default: str) -> None:
    """Where ``args`` leaves the base model open (None), take the one that the adapter names, else ``default``.

    An adapter whose georanker.json is damaged is an error of ``parser``.
    """
    from utils.model.adapter_info import recorded_base  # brings scipy, which --help does not need

    try:
        args.model = args.model or recorded_base(args.model_path) or default
    except ValueError as error:
        parser.error(str(error))


def set_default_paths(args: Namespace, parser: ArgumentParser) -> Benchmark:
    """Give the paths that ``args`` leaves open (None) those of its ``dataset`` and ``split``, and return them all.

    The base model is chosen as in ``choose_base``.
    """
    defaults = BENCHMARKS[args.dataset]
    for name in ("candidates", "image_path", "image_data_path"):
        if getattr(args, name) is None:
            setattr(args, name, getattr(defaults, name).format(split=args.split))
    args.model_path = args.model_path or defaults.model_path
    choose_base(args, parser, defaults.model)
    return defaults
