"""From a TopoJSON file of two countries that share a border to the outlines of the maps."""

import json

import numpy as np
import pytest

from tools.import_outlines import main, simplified
from utils.geography.outlines import decoded

# West and east of longitude 1, together the rectangle from (0, 0) to (2, 1); an island across the dateline; the pole.
TOPOLOGY = {
    "type": "Topology",
    "transform": {"scale": [0.01, 0.01], "translate": [-180, -90]},
    "arcs": [
        [[18100, 9000], [0, 50], [0, 50]],
        [[18100, 9100], [-100, 0], [0, -100], [100, 0]],
        [[18100, 9000], [100, 0], [0, 100], [-100, 0]],
        [[35950, 10000], [-35900, 0], [0, 40], [35900, 0], [0, -40]],
        [[0, 0], [9000, 0], [9000, 0], [9000, 0], [9000, 0]],
    ],
    "objects": {
        "countries": {
            "type": "GeometryCollection",
            "geometries": [
                {"type": "Polygon", "arcs": [[0, 1]]},
                {"type": "MultiPolygon", "arcs": [[[2, -1]], [[3]]]},
            ],
        },
        "land": {
            "type": "GeometryCollection",
            "geometries": [{"type": "MultiPolygon", "arcs": [[[1, 2]], [[3]], [[4]]]}],
        },
    },
}


@pytest.fixture
def topology(tmp_path):
    path = tmp_path / "countries.json"
    path.write_text(json.dumps(TOPOLOGY))
    return path


def test_coasts_and_borders_are_told_apart(topology, tmp_path, capsys):
    written = tmp_path / "outlines.json"
    assert main([str(topology), "--output", str(written)]) == 0
    found = json.loads(written.read_text())
    (border,) = (decoded(line) * found["degrees"] for line in found["borders"])
    assert border == pytest.approx(np.array([(1, 0), (1, 1)]))
    coast, island = (decoded(line) * found["degrees"] for line in found["land"])
    assert {tuple(point) for point in coast.round(6).tolist()} == {(0, 0), (0, 1), (1, 0), (1, 1), (2, 0), (2, 1)}
    assert coast[0] == pytest.approx(coast[-1])
    assert np.ptp(island[:, 0]) == pytest.approx(1)
    assert "land rings: 2 with 12 points; borders: 1 with 2 points" in capsys.readouterr().out


def test_simplified_stays_within_the_tolerance():
    """A circle of 200 km at 60 degrees north, measured by geopy at the point where the simplified one is furthest."""
    from geopy.distance import geodesic

    centre = (60.0, 20.0)
    turns = np.linspace(0, 360, 400)
    circle = np.array([geodesic(kilometers=200).destination(centre, turn)[1::-1] for turn in turns])
    line = simplified(circle, 5.0)
    assert 10 < len(line) < 40
    middles = (line[1:] + line[:-1]) / 2
    sagged = [200 - geodesic(centre, point[::-1]).km for point in middles]
    assert max(sagged) < 5.5
    assert max(sagged) > 1


def test_a_small_island_stays(topology):
    island = np.array([(0.0, 0.0), (0.001, 0.0), (0.001, 0.001), (0.0, 0.001), (0.0, 0.0)])
    assert len(simplified(island, 1.2)) >= 4


def test_a_missing_file_is_named(tmp_path, capsys):
    with pytest.raises(SystemExit, match="nowhere"):
        main([str(tmp_path / "nowhere.json")])
