import pytest

from utils.candidates import Candidate
from utils.decoding import Prediction
from utils.geo_ranker import RankedCandidate
from utils.locating.ranking_task import Outcome


@pytest.fixture
def outcome() -> Outcome:
    """Two places, of which the second is the answer."""
    ranking = [
        RankedCandidate(Candidate(46.1, 7.07, ("Martigny",), "g.jpg"), -1.25, 0.75),
        RankedCandidate(Candidate(-33.9, 151.2, source="generation"), -2.5, 0.25),
    ]
    confidence = {1: 0.25, 25: 0.25, 200: 0.3, 750: 0.3, 2500: 0.987}
    answer = Prediction(1, -33.9, 151.2, confidence)
    return Outcome(ranking, [(46.1, 7.07), (-33.9, 151.2)], ["Martigny", "Sydney, Australia"], answer)
