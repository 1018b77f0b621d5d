"""What is written of one answer: the map shows what the JSON file says."""

import json

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from PIL import Image

from utils.answer import Answer, Demand, Place
from utils.candidates import Candidate
from utils.figures.regions import COLOUR
from utils.geography.discs import region
from utils.locating.results import write_results


def write(folder, regions):
    """The JSON file of an answer, and the pixels of its map in the colour of regions."""
    candidate = Candidate(46.2, 7.1)
    stated = None if regions is None else {1: 0.0, 25: 0.1, 200: 0.4, 750: 0.8, 2500: 0.9}
    answer = Answer(
        46.2,
        7.1,
        "20 km from Sion, Switzerland",
        candidate,
        stated,
        regions,
        None if regions is None else False,
        Demand(0.5, 25),
        places=(Place(candidate, "20 km from Sion, Switzerland", None, 1.0),),
    )
    write_results(
        answer, Image.new("RGB", (8, 8)), {"photo": "a.jpg"}, folder / "r.json", folder / "m.png", (46.0, 7.0)
    )
    with Image.open(folder / "m.png") as picture:
        blue = (abs(np.asarray(picture.convert("RGB")) - 255 * np.array(to_rgb(COLOUR))) < 25).all(-1).sum()
    return json.loads((folder / "r.json").read_text()), int(blue)


def test_the_map_shows_the_regions(tmp_path):
    points = [(46.2, 7.1)]
    written, blue = write(tmp_path, {50: region(points, [40]), 90: region(points, [90])})
    plain, none = write(tmp_path, None)
    assert written["regions"]["90"]["discs"][0]["radius_km"] == 90
    assert plain["regions"] is None
    assert written["truth"]["distance_km"] == pytest.approx(23.5, abs=0.1)
    assert blue > none + 1000
