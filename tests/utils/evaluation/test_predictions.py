import numpy as np

from tests.cases import random_cases
from utils.evaluation.predictions import predictions_table
from utils.evaluation.rankers import ranker_picks


def test_predictions_table():
    cases = random_cases(5)
    picks = ranker_picks(cases)
    table = predictions_table(cases, picks, "model")
    for number, (case, row) in enumerate(zip(cases, table.to_dict("records"), strict=True)):
        best = int(np.argmax(case.rewards))
        assert row["IMG_ID"] == f"q{number}.jpg"
        assert row["candidate_gps_lis"][best] == (row["predicted_latitude"], row["predicted_longitude"])
        assert row["candidate_reward_lis"][best] == max(row["candidate_reward_lis"])
        assert row["model"] == best
        assert row["error_km"] == row["candidate_distance_lis"][best]
        assert len(row["candidate_source_lis"]) == len(case.points)
