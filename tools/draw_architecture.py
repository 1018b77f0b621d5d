"""Draw the packages of the library and what they import, for docs/architecture.md.

    python -m tools.draw_architecture

The floors are those of ``[tool.importlinter]`` in pyproject.toml, the arrows the imports that stand in the code; one
that follows from others (a package imports another through a third) is left out.
"""

import argparse
import ast
import sys
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path

from utils.cli.command import run_command
from utils.cli.flags import script_parser
from utils.jobs.outputs import check_outputs

ROOT = Path(__file__).parent.parent
INK, PAPER, MAIN_PATH = "#1c2330", "#eef2f8", "#ffe3b3"
WIDTH, HEIGHT = 2.0, 0.62  # of a box, inches
ACROSS, UP = 2.6, 1.35  # between the middles of boxes, inches


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = script_parser(__doc__, "tools.draw_architecture")
    parser.add_argument("--output", type=Path, default=Path("docs/images/architecture.png"), help="(%(default)s)")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    args = parse_arguments(arguments)
    return run_command(lambda: draw(args.output), quiet=args.quiet)


def draw(output: Path) -> list[str]:
    """Write the picture. Returns no problems."""
    check_outputs([("--output", output)])
    from matplotlib.figure import Figure
    from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

    from utils.figures.style import save

    rows, imports = floors(), imported_packages(ROOT / "utils")
    widest = max(map(len, rows))
    figure = Figure(figsize=(ACROSS * widest + 0.6, UP * len(rows) + 0.2), facecolor="white")
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, ACROSS * widest + 0.6), ylim=(0, UP * len(rows) + 0.2))
    axes.set_axis_off()
    middle = {
        name: (0.3 + ACROSS * (number + 0.5 + (widest - len(row)) / 2), UP * (len(rows) - level) - UP / 2 + 0.1)
        for level, row in enumerate(rows)
        for number, name in enumerate(row)
    }
    for name, (x, y) in middle.items():
        colour = PAPER if (ROOT / "utils" / name).is_dir() else MAIN_PATH
        corner = (x - WIDTH / 2, y - HEIGHT / 2)
        box = FancyBboxPatch(corner, WIDTH, HEIGHT, boxstyle="round,pad=0.02", facecolor=colour, edgecolor=INK)
        axes.add_patch(box)
        axes.text(x, y, name if colour == PAPER else f"{name}.py", ha="center", va="center", size=12, color=INK)
        for other in sorted(direct(imports, name)):
            to_x, to_y = middle[other]
            lean = (to_x - x) * 0.12
            # Past the boxes of a floor in between, not through them.
            bend = 0.0 if y - to_y < 1.5 * UP else 0.35 if to_x > x else -0.35
            style = {"arrowstyle": "-|>", "mutation_scale": 11, "color": INK, "alpha": 0.6, "linewidth": 1, "zorder": 3}
            arrow = FancyArrowPatch(
                (x + lean, y - HEIGHT / 2),
                (to_x - lean, to_y + HEIGHT / 2),
                connectionstyle=f"arc3,rad={bend}",
                **style,
            )
            axes.add_patch(arrow)
    save(figure, output)
    print(output)
    return []


def floors() -> list[list[str]]:
    """The packages of each floor, the highest first."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"][
        "contracts"
    ]
    (layers,) = (contract["layers"] for contract in contracts if contract.get("containers") == ["utils"])
    return [layer.split(" | ") for layer in layers]


def imported_packages(folder: Path) -> dict[str, set[str]]:
    """Package or module of ``folder`` -> the others that its files import, in functions too."""
    imports: dict[str, set[str]] = {}
    for path in folder.rglob("*.py"):
        own = path.relative_to(folder).parts[0].removesuffix(".py")
        nodes = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        modules = {node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module}
        found = {module.split(".")[1] for module in modules if module.startswith(f"{folder.name}.")}
        imports.setdefault(own, set()).update(found - {own})
    return imports


def direct(imports: Mapping[str, set[str]], name: str) -> set[str]:
    """What ``name`` imports and none of its other imports leads to."""

    def below(package: str) -> set[str]:
        return imports[package].union(*map(below, imports[package]))

    return imports[name] - set().union(*map(below, imports[name]))


if __name__ == "__main__":
    sys.exit(main())
