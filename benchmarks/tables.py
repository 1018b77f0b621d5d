"""Tables of how costs grow, in Markdown, as the commands print them and docs/costs.md has them."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

Point = Mapping[str, Any]


def markdown(rows: Iterable[Sequence[str]]) -> str:
    """The first of ``rows`` is the head."""
    head, *body = ["| " + " | ".join(cells) + " |" for cells in rows]
    return "\n".join([head, "|" + "---|" * (head.count("|") - 1), *body])


def short(number: float) -> str:
    """At least two digits, and the decimals that they need."""
    return f"{number:,.0f}" if number >= 9.95 else f"{number:.1f}" if number >= 0.995 else f"{number:.2f}"


def photos_of(point: Point) -> str:
    """Model and photos of a point of ``benchmarks.growth``, in words."""
    return f"{point['preset']}, {point['photo']}"


def time_unit(points: Sequence[Point]) -> str:
    """What the milliseconds of ``points`` are, of ``benchmarks.growth``."""
    units = {"wall": "ms a query", "processor": "processor ms a query"}
    return " or ".join(dict.fromkeys(units[point["clock"]] for point in points))


def growth_tables(points: Sequence[Point]) -> str:
    """Of ``benchmarks.growth``: a row for each model, size of photos and layout, a column for a number of candidates.

    A cell has ours / naive; a dash is a side that was not measured.
    """

    def figures(name: str) -> Callable[[Point], str]:
        return lambda point: " / ".join(
            short(point[side][name]) if name in point[side] else "-" for side in ("ours", "naive")
        )

    def ratio(point: Point) -> str:
        return f"{point['naive']['tflops'] / point['ours']['tflops']:.2f}"

    return "\n\n".join(
        _growth_table(points, label, cell)
        for label, cell in (
            (f"{time_unit(points)}, ours / naive", figures("ms")),
            ("peak memory beyond weights, MiB, ours / naive", figures("peak_mib")),
            ("language tokens a query, ours / naive", figures("tokens")),
            ("operations, naive : ours", ratio),
        )
    )


def _growth_table(points: Sequence[Point], label: str, cell: Callable[[Point], str]) -> str:
    counts = sorted({point["candidates"] for point in points})
    found: dict[tuple[str, str], dict[int, str]] = {}
    for point in points:
        found.setdefault((photos_of(point), point["layout"]), {})[point["candidates"]] = cell(point)
    rows = [[*names, *(cells.get(count, "") for count in counts)] for names, cells in found.items()]
    return markdown([[label, "layout", *map(str, counts)], *rows])


def search_table(rows: Sequence[Point]) -> str:
    """Of ``benchmarks.search``: a row for each number of photos and kind of index."""
    columns: dict[str, Callable[[Point], str]] = {
        "photos": lambda row: f"{row['photos']:,}",
        "index": lambda row: row["kind"],
        "processor ms a query": lambda row: short(row["query_ms"]),
        "recall@1": lambda row: f"{row['recall@1']:.2f}",
        "recall@20": lambda row: f"{row['recall@20']:.3f}",
        "cells looked through": lambda row: f"{row['cells']} of {row['of_cells']:,}" if "cells" in row else "all",
        "loading, s": lambda row: short(row["load_seconds"]),
        "loaded, MiB": lambda row: short(row["search_own_mib"]),
        "building, processor s": lambda row: short(row["build_seconds"]),
        "building, MiB": lambda row: short(row["build_peak_mib"]),
        "bytes a photo": lambda row: f"{row['bytes_per_photo']:,}",
    }
    return markdown([list(columns), *([cell(row) for cell in columns.values()] for row in rows)])


def locate_table(rows: Sequence[Point]) -> str:
    """Of ``benchmarks.locate``: a row for each case; what is told apart as once only where it is felt."""
    columns: dict[str, Callable[[Point], str]] = {
        "candidates and who decides": lambda row: row["case"],
        "cold, s": lambda row: short(row["cold_seconds"]),
        "loading weights": lambda row: short(row["load_seconds"]),
        "first photo": lambda row: short(row["first_photo_seconds"]),
        "warm, s": lambda row: short(row["warm_seconds"]),
        "peak MiB": lambda row: short(row["peak_mib"]),
        "command, s": lambda row: short(row["command_seconds"]),
        "its peak MiB": lambda row: short(row["command_mib"]),
        "only the first time, s": lambda row: short(row["once_seconds"]) if row["once_seconds"] >= 1 else "-",
    }
    return markdown([list(columns), *([cell(row) for cell in columns.values()] for row in rows)])
