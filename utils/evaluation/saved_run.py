"""An evaluation read back: queries, candidates and rewards of a folder that evaluate.py wrote."""

import json
from pathlib import Path

import numpy as np

from utils.evaluation.cases import Case
from utils.tables.candidate_table import read_candidate_table
from utils.tables.cells import parse_list, read_rows


def read_settings(folder: Path) -> dict[str, str]:
    """The flags that evaluate.py was run with, by name, as text."""
    return json.loads((folder / "metrics.json").read_text(encoding="utf-8"))["settings"]


def read_cases(folder: Path) -> tuple[list[Case], list[str]]:
    """The queries that were scored, with their rewards, and problems.

    The rewards stand in predictions.csv, everything else in the candidate table that metrics.json names. A query
    whose candidates are not the same in both (one could not be scored, or the table was made anew) is left out.

    Raises:
        ValueError: when the folder is not that of a model, or no query is left.
    """
    settings = read_settings(folder)
    queries, problems = read_candidate_table(
        settings["candidates"], int(settings["topn"]), int(settings["topn_zs"]), merge_km=float(settings["merge_km"])
    )
    by_id = {query.image: query for query in queries}
    cases = []
    columns = ("candidate_gps_lis", "candidate_reward_lis")
    for where, cells in read_rows(folder / "predictions.csv", ["IMG_ID", *columns]):
        points, rewards = (parse_list(cells, column) for column in columns)
        query = by_id.get(cells["IMG_ID"])
        if query is None or points != [(place.latitude, place.longitude) for place in query.candidates]:
            problems.append(f"{where}: other candidates than in {settings['candidates']}; query left out")
        else:
            cases.append(Case(query, np.array(rewards)))
    if not cases:
        raise ValueError("\n".join([f"{folder}: no query to go by", *problems]))
    return cases, problems
