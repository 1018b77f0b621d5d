"""Flags that several scripts share, and what they mean where they are left out."""

from argparse import ArgumentParser, Namespace

from utils.data_paths import BENCHMARKS, Benchmark
from utils.model.adapter_info import recorded_base


def choose_base(args: Namespace, parser: ArgumentParser, default: str) -> None:
    """Where ``args`` leaves the base model open (None), take the one that the adapter names, else ``default``.

    An adapter whose georanker.json is damaged is an error of ``parser``.
    """
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
