"""Whether servers of one checkpoint, and an earlier run with it, compute alike: by their rewards of one prompt.

A checkpoint has a name, but a server computes in the dtype that it was started with, and says it nowhere.
"""

import logging
import math
from collections.abc import Mapping
from pathlib import Path

from utils.jobs.files import write_json
from utils.jobs.reading import read_json_object
from utils.serving.reward_server import Served

logger = logging.getLogger(__name__)

FILENAME = "served.json"  # label of a checkpoint -> its reward of the prompt when a run first met it
ALIKE = 1e-4  # rewards differ by no more where float32 alone is rounded


def check_probes(found: Mapping[str, Served], folder: Path) -> str:
    """The label of the checkpoint that all of ``found``, by address, have.

    Where one of them computes otherwise than the first, or that one than the first run into ``folder`` did, a warning
    says so. It is no error: the candidates of a query are always ranked by one server.
    """
    (first, (label, probe)), *others = found.items()
    path = folder / FILENAME
    probes = read_json_object(path) if path.exists() else {}
    if label not in probes:
        write_json(path, probes | {label: probe})
    _compare(first, probe, f"the first run into {folder}", probes.get(label, probe))
    for address, served in others:
        _compare(address, served.probe, first, probe)
    return label


def _compare(address: str, probe: float, other: str, others: float) -> None:
    if not math.isclose(probe, others, rel_tol=ALIKE, abs_tol=ALIKE):
        logger.warning(
            "%s computes otherwise than %s: the reward of one prompt is %.5f and %.5f. Is the --dtype another one, or "
            "the kind of processor? Rewards of different queries are then not alike",
            *(address, other, probe, others),
        )
