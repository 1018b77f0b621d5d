import pytest

from utils.answer import Answer
from utils.candidates import Candidate
from utils.geo_ranker import RankedCandidate
from utils.geography.discs import Disc, Region
from utils.locating.ranking_task import Outcome


@pytest.fixture
def outcome() -> Outcome:
    """Two places, of which the second is the answer."""
    ranking = [
        RankedCandidate(Candidate(46.1, 7.07, ("Martigny",), "g.jpg"), -1.25, 0.75),
        RankedCandidate(Candidate(-33.9, 151.2, source="generation"), -2.5, 0.25),
    ]
    confidence = {1: 0.004, 25: 0.25, 200: 0.3, 750: 0.3, 2500: 0.995}
    regions = {50: Region((Disc(-33.9, 151.2, 30.0),)), 90: Region((Disc(-33.9, 151.2, 60.0), Disc(46.1, 7.07, 80.0)))}
    found = ranking[1].candidate
    answer = Answer(found.latitude, found.longitude, "Sydney, Australia", found, confidence, regions, True)
    return Outcome(ranking, [(46.1, 7.07), (-33.9, 151.2)], ["Martigny", "Sydney, Australia"], 1, answer)
