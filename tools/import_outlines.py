"""Make the outlines of the maps, utils/geography/outlines.json, from Natural Earth's as npm carries them.

    npm pack world-atlas@2.0.2 && tar xzf world-atlas-2.0.2.tgz
    python -m tools.import_outlines package/countries-50m.json

The file is TopoJSON: coasts and borders are cut into arcs, which countries share. An arc of two countries is a border.
Every arc is simplified (Douglas and Peucker 1973) to --tolerance_km and rounded to --degrees, its ends kept, so that
borders still end on the coast. No island is dropped.
"""

import argparse
import itertools
import json
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from utils.cli.command import run_command
from utils.cli.flags import positive, script_parser
from utils.data_paths import check_files
from utils.geography.outlines import encoded
from utils.jobs.files import atomic_path
from utils.jobs.outputs import check_outputs

KM_PER_DEGREE = 111.2  # of latitude
OUTPUT = Path("utils/geography/outlines.json")
ORIGIN = "Natural Earth 4.1.0, 1:50m, public domain (naturalearthdata.com), by way of npm world-atlas 2.0.2"


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = script_parser(__doc__, "tools.import_outlines")
    add = parser.add_argument
    add("topology", type=Path, help="countries-50m.json of world-atlas")
    add("--output", type=Path, default=OUTPUT, help="where the outlines go (%(default)s)")
    add("--tolerance_km", type=positive, default=1.2, help="how far a line may be moved (%(default)s)")
    add("--degrees", type=positive, default=0.01, help="what coordinates are rounded to (%(default)s)")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    args = parse_arguments(arguments)
    return run_command(lambda: import_outlines(args), quiet=args.quiet)


def import_outlines(args: argparse.Namespace) -> list[str]:
    """Write the outlines and say how large they are. Nothing is left out, so the list of problems is empty."""
    check_files([(None, args.topology)])
    check_outputs([("--output", args.output)])
    topology = json.loads(args.topology.read_text(encoding="utf-8"))
    arcs = [simplified(arc, args.tolerance_km) for arc in absolute(topology)]
    rings = [joined(arcs, ring) for ring in rings_of(topology["objects"]["land"])]
    users = Counter(arc_users(topology["objects"]["countries"]))
    lines = {
        # The cap that closes Antarctica at the pole is no coast.
        "land": [ring for ring in rings if ring[:, 1].max() > -89.9],
        "borders": [joined(arcs, [index]) for index, count in users.items() if count > 1],
    }
    counts, texts = {}, {}
    for kind, found in lines.items():
        grid = [rounded(line, args.degrees) for line in found]
        counts[kind] = f"{len(grid):,} with {sum(map(len, grid)):,} points"
        texts[kind] = [encoded(line) for line in grid]
    with atomic_path(args.output) as temporary:
        temporary.write_text(json.dumps({"origin": ORIGIN, "degrees": args.degrees} | texts, indent=0) + "\n")
    print(f"{args.output}: land rings: {counts['land']}; borders: {counts['borders']}")
    return []


def absolute(topology: dict) -> list[np.ndarray]:
    """The arcs of a TopoJSON file (topojson-specification, 2.1.2 and 2.1.4), each (n, 2) longitude, latitude."""
    scale, translate = topology["transform"]["scale"], topology["transform"]["translate"]
    return [np.cumsum(arc, axis=0) * scale + translate for arc in topology["arcs"]]


def rings_of(geometry: dict) -> Iterator[list[int]]:
    """The rings of polygons, each a list of arcs; ~i is arc i backwards."""
    if geometry["type"] == "GeometryCollection":
        for part in geometry["geometries"]:
            yield from rings_of(part)
    elif geometry["type"] == "Polygon":
        yield from geometry["arcs"]
    elif geometry["type"] == "MultiPolygon":
        for polygon in geometry["arcs"]:
            yield from polygon


def arc_users(countries: dict) -> Iterator[int]:
    """The arcs of each country, each arc once a country."""
    for country in countries["geometries"]:
        yield from {max(index, ~index) for ring in rings_of(country) for index in ring}


def continuous(line: np.ndarray) -> np.ndarray:
    """A line (n, 2) without leaps across the dateline."""
    return np.stack([np.unwrap(line[:, 0], period=360), line[:, 1]], axis=1)


def simplified(arc: np.ndarray, tolerance_km: float) -> np.ndarray:
    """The points of an arc (n, 2) that are needed to stay within ``tolerance_km`` of it; a closed one keeps four."""
    line = continuous(arc)
    flat = line * KM_PER_DEGREE
    flat[:, 0] *= np.cos(np.radians(line[:, 1].mean()))
    keep = np.zeros(len(line), bool)
    keep[[0, -1]] = True
    if np.allclose(line[0], line[-1]):
        furthest = int(np.argmax(np.linalg.norm(flat - flat[0], axis=1)))
        aside = distances(flat, flat[0], flat[furthest])
        keep[[furthest, int(np.argmax(aside))]] = True
    corners = np.flatnonzero(keep).tolist()
    pending = list(itertools.pairwise(corners))
    while pending:
        start, end = pending.pop()
        if end - start < 2:
            continue
        aside = distances(flat[start + 1 : end], flat[start], flat[end])
        if aside.max() > tolerance_km:
            middle = start + 1 + int(np.argmax(aside))
            keep[middle] = True
            pending += [(start, middle), (middle, end)]
    return line[keep]


def distances(points: np.ndarray, start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """(n,) from points (n, 2) in a plane to the segment from start to end (2,)."""
    along = end - start
    share = np.clip((points - start) @ along / max(along @ along, 1e-12), 0, 1)
    return np.linalg.norm(points - start - share[:, None] * along, axis=1)


def joined(arcs: list[np.ndarray], indexes: Sequence[int]) -> np.ndarray:
    """One line (n, 2) of arcs that follow each other."""
    parts = [arcs[index] if index >= 0 else arcs[~index][::-1] for index in indexes]
    return continuous(np.concatenate([parts[0], *(part[1:] for part in parts[1:])]))


def rounded(line: np.ndarray, degrees: float) -> np.ndarray:
    """(n, 2) integers in units of ``degrees``, none twice in a row."""
    grid = np.round(line / degrees).astype(np.int64)
    return grid[np.concatenate([[True], np.any(np.diff(grid, axis=0) != 0, axis=1)])]


if __name__ == "__main__":
    sys.exit(main())
