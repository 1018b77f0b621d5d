"""What the index of a gallery tar costs: converting the released pickle, opening, looking up from many processes.

    nice python -m benchmarks.tar_index --entries 4120000 --output outputs/tar_index.json

A pickle of the released format with made-up photos is written first, then measured in fresh processes: our index,
and the plain way, ``pickle.load`` of the dict in every process. The plain way needs 1.3 GB of memory for each million
entries, and forked processes copy what they touch of it; ``--skip_plain`` leaves it out. Memory is as Linux counts it:
RSS, and USS, the part that no other process shares.
"""

import argparse
import os
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.flags import add_output
from benchmarks.fresh import in_fresh_process
from benchmarks.work.tar_index import MIB, convert, measure, write_released_pickle
from utils.cli.command import run_command
from utils.cli.flags import at_least, script_parser
from utils.data_paths import check_files
from utils.jobs.files import write_json
from utils.jobs.outputs import check_outputs

ENTRIES = 4_120_000  # photos of MP16-Pro
LOOKUPS = 200_000  # by each process


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = script_parser(__doc__, "benchmarks.tar_index")
    add = parser.add_argument
    add("--entries", type=at_least(3), default=ENTRIES, help="photos in the index (default: as in MP16-Pro)")
    add("--workers", type=at_least(1), default=8, help="processes that look up at once in our index")
    add("--plain_workers", type=at_least(1), default=1, help="the same for the dict; each copies up to all of it")
    add("--skip_plain", action="store_true", help="leave the plain way out")
    add("--folder", type=Path, help="for temporary files, 3 GB at full size (default: the system's)")
    add_output(parser)
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    args = parse_arguments(arguments)
    return run_command(lambda: measure_both(args), quiet=args.quiet)


def measure_both(args: argparse.Namespace) -> list[str]:
    """Measure our index and, unless it is left out, the plain way; print the table and write the figures."""
    check_files([("folder", args.folder)])
    check_outputs([("--output", args.output)])
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        released, tar = Path(folder, "tar_index.pkl"), Path(folder, "images.tar")
        size = write_released_pickle(released, args.entries)
        tar.touch()
        os.truncate(tar, size)  # no bytes in it: only its size is asked for
        results = {"entries": args.entries, "tar_gib": size / 2**30, "pickle_mib": released.stat().st_size / MIB}
        results["convert"] = measured(convert, released, tar)
        index_file = released.with_name("tar_index.pkl.index")
        results["index_mib"] = index_file.stat().st_size / MIB
        asked = {"entries": args.entries, "lookups": LOOKUPS}
        results["index"] = measured(measure, released, tar, **asked, workers=args.workers, plain=False)
        if not args.skip_plain:
            results["plain"] = measured(measure, released, tar, **asked, workers=args.plain_workers, plain=True)
    print_table(results)
    if args.output:
        write_json(args.output, results)
    return []


def print_table(results: dict[str, Any]) -> None:
    print(f"{results['entries']:,} photos in a tar of {results['tar_gib']:,.0f} GiB")
    print(f"pickle {results['pickle_mib']:,.0f} MiB, index {results['index_mib']:,.0f} MiB")
    converted = results["convert"]
    print(f"converted once in {converted['seconds']:.1f} s ({converted['cpu_seconds']:.1f} s of CPU)")
    print(f"with at most {converted['peak_mib']:,.0f} MiB of memory")
    for name, title in (("index", "our index"), ("plain", "pickle.load in every process")):
        if name not in results:
            continue
        one, forked = results[name]["one_process"], results[name]["forked"]
        print(f"\n{title}")
        for label, value in (
            ("open, s", results[name]["open_seconds"]),
            ("open, s of CPU", results[name]["open_cpu_seconds"]),
            ("most memory of the process, MiB", results[name]["peak_mib"]),
            ("memory added by opening, MiB", results[name]["rss_added_mib"]),
            ("memory added after all lookups, MiB", results[name]["rss_added_after_lookups_mib"]),
            ("lookups a second, found", one["lookups_per_second"]),
            ("lookups a second, absent", one["absent_per_second"]),
            (f"lookups a second, {forked['workers']} forked processes together", forked["lookups_per_second"]),
            (f"own memory taken by each of {forked['workers']} forked processes, MiB", forked["uss_added_mib"]),
        ):
            print(f"  {label:56} {value:14,.3f}")


def measured(function: Callable[..., dict[str, Any]], released: Path, tar: Path, **arguments: Any) -> dict[str, Any]:
    """What ``function`` measures in a new process, and the most memory it ever had."""
    outcome = in_fresh_process(function, released=str(released), tar=str(tar), **arguments)
    return outcome.returned | {"peak_mib": outcome.peak_mib}


if __name__ == "__main__":
    sys.exit(main())
