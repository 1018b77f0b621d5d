"""Located photos, made up: what a page has to show."""

from dataclasses import replace
from functools import partial

from tests.pictures import photo
from utils.answer import Answer, Demand, Place
from utils.candidates import Candidate
from utils.geography.discs import Disc, Region
from utils.page.entry import Located

TRUTH = (38.8, -9.3)
# What ends a script, begins a comment or an element, or is taken for a name of the template.
HOSTILE = "</script><!--<img src=x onerror=alert(1)>&amp;'\"$title"


def answer() -> Answer:
    """Three places near Lisbon, of which the second is the answer, one at sea and one across the dateline."""
    own = partial(photo, 60, 40, seed=1)
    spots = [
        (38.72, -9.14, "Lisbon, Portugal", 0.5, "retrieval"),
        (38.70, -9.42, "Cascais, Portugal", 0.25, "generation"),
        (39.60, -8.41, "6 km from Tomar, Portugal", 0.2, "geoclip"),
        (-17.0, 179.9, "71 km from Labasa, Fiji", 0.05, "retrieval"),
    ]
    places = []
    for number, (latitude, longitude, name, share, source) in enumerate(spots):
        candidate = Candidate(latitude, longitude, image=f"g{number}.jpg", source=source)
        places.append(Place(candidate, name, -1.0 - number, share, own if number < 2 else None))
    discs = Disc(38.70, -9.42, 40.0), Disc(-17.0, 179.9, 90.0)
    return Answer(
        38.70,
        -9.42,
        "Cascais, Portugal",
        places[1].candidate,
        {1: 0.004, 25: 0.25, 200: 0.625, 750: 0.7, 2500: 0.995},
        {50: Region(discs[:1]), 90: Region((Disc(38.70, -9.42, 90.0), discs[1]))},
        True,
        places=tuple(places),
        ranker="path/adapter",
        decode="consensus",
        used=("2 similar photos of a gallery", "1 guess"),
        notes=("a note of it",),
        problems=("g9.jpg cannot be read; place left out",),
    )


def located(name: str = "photo.jpg", **changes) -> Located:
    """With a query photo of 90 x 60 pixels; ``changes`` are those of the answer."""
    return Located(name, replace(answer(), **changes), photo(90, 60), TRUTH)


def unsure() -> Located:
    return located("unsure.jpg", answered=False, demand=Demand(0.905, 200))


def unknown() -> Located:
    return located("unknown.jpg", confidence=None, regions=None, why_unknown="argmax was not calibrated", has_gps=True)
