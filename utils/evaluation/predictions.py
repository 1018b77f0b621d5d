"""The table of answers, predictions.csv."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from utils.evaluation.cases import Case


def predictions_table(cases: Sequence[Case], picks: dict[str, np.ndarray], prediction: str) -> pd.DataFrame:
    """One row a query: truth, answer, what every ranker picked, and all candidates with their rewards.

    Lists are Python literals in the order of the candidates; a ranker's column holds the index of its pick.
    """
    rows = []
    for number, case in enumerate(cases):
        pick = picks[prediction][number]
        latitude, longitude = case.points[pick].tolist()
        row = {
            "IMG_ID": case.query.image,
            "LAT": case.query.latitude,
            "LON": case.query.longitude,
            "predicted_latitude": latitude,
            "predicted_longitude": longitude,
            "error_km": case.distances[pick],
        }
        row |= {name: indices[number] for name, indices in picks.items()}
        row["candidate_gps_lis"] = [tuple(point) for point in case.points.tolist()]
        row["candidate_source_lis"] = [candidate.source for candidate in case.query.candidates]
        row["candidate_distance_lis"] = case.distances.tolist()
        if case.rewards is not None:
            row["candidate_reward_lis"] = case.rewards.tolist()
        rows.append(row)
    return pd.DataFrame(rows)
