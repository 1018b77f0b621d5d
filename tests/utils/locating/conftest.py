import pytest

from utils.answer import Answer, Place
from utils.candidates import Candidate
from utils.geography.discs import Disc, Region


@pytest.fixture
def answer() -> Answer:
    """Two places, of which the second is the answer."""
    places = (
        Place(Candidate(46.1, 7.07, ("Martigny",), "g.jpg"), "Martigny", -1.25, 0.75),
        Place(Candidate(-33.9, 151.2, source="generation"), "Sydney, Australia", -2.5, 0.25),
    )
    confidence = {1: 0.004, 25: 0.25, 200: 0.3, 750: 0.3, 2500: 0.995}
    regions = {50: Region((Disc(-33.9, 151.2, 30.0),)), 90: Region((Disc(-33.9, 151.2, 60.0), Disc(46.1, 7.07, 80.0)))}
    return Answer(
        -33.9,
        151.2,
        "Sydney, Australia",
        places[1].candidate,
        confidence,
        regions,
        True,
        places=places,
        ranker="path/adapter",
        decode="consensus",
        used=("1 similar photo of a gallery", "1 guess"),
    )
