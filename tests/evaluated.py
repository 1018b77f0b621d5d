"""Folders as evaluate.py writes them, of queries with invented rewards."""

import json
from pathlib import Path

import numpy as np

from utils.evaluation.cases import Case
from utils.evaluation.predictions import predictions_table
from utils.evaluation.rankers import ranker_picks
from utils.tables.candidate_table import CandidateRow, read_candidate_table, write_candidate_table

TOPN, TOPN_ZS = 5, 2


def write_evaluation(folder: Path, queries: int, seed: int) -> list[Case]:
    """candidates.csv, metrics.json and predictions.csv of queries whose rewards and similarities tell something.

    Candidates lie around the truth, 1 to some thousand km off; the nearer, the higher their scores, with noise.
    """
    random = np.random.default_rng(seed)
    rows = []
    for number in range(queries):
        truth = random.uniform([-60, -170], [60, 170])
        spread = 10 ** random.uniform(-1.5, 1.2, (TOPN + TOPN_ZS, 1))
        points = np.clip(truth + spread * random.normal(size=(TOPN + TOPN_ZS, 2)), [-90, -180], [90, 180]).round(4)
        places = [tuple(point) for point in points.tolist()]
        offsets = np.linalg.norm(points - truth, axis=1)
        similarity = 0.9 - 0.05 * np.log1p(offsets[:TOPN]) + random.normal(0, 0.03, TOPN)
        rows.append(
            CandidateRow(
                f"q{seed}-{number}.jpg",
                *truth.round(4).tolist(),
                gps=places[:TOPN],
                similarity=similarity.tolist(),
                zs_gps=places[TOPN:],
            )
        )
    folder.mkdir(parents=True)
    write_candidate_table(folder / "candidates.csv", rows)
    found, _ = read_candidate_table(folder / "candidates.csv", TOPN, TOPN_ZS)
    cases = []
    for query in found:
        case = Case(query)
        rewards = -np.log1p(case.distances) + random.normal(0, 1.5, len(case.points))
        cases.append(Case(query, rewards.astype(np.float32)))
    settings = {"candidates": folder / "candidates.csv", "topn": TOPN, "topn_zs": TOPN_ZS, "merge_km": 0}
    settings |= {"model": "base", "model_path": "adapter", "name_generated": False}
    metrics = {"settings": {name: str(value) for name, value in settings.items()}}
    (folder / "metrics.json").write_text(json.dumps(metrics))
    predictions_table(cases, ranker_picks(cases), "model").to_csv(folder / "predictions.csv", index=False)
    return cases
