import numpy as np
import pytest
from geopy.distance import great_circle

from benchmarks.geoclip_points import main
from benchmarks.work.geoclip_points import neighbour_distances


def test_neighbours_are_those_of_comparing_all() -> None:
    points = np.random.default_rng(0).uniform((-80, -180), (80, 180), (30, 2))
    points[7] = points[3]
    wanted = [min(great_circle(a, b).km for j, b in enumerate(points) if j != i) for i, a in enumerate(points)]
    assert wanted[3] == 0
    np.testing.assert_allclose(neighbour_distances(points), wanted, rtol=1e-3, atol=1e-6)


def test_tables_of_a_small_release(geoclip_release, tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert main(["--geoclip", str(geoclip_release), "--queries", "20", "--topk", "10"]) == 0
    printed = capsys.readouterr().out
    assert "| 300 points, 1 of them repeat another | 10% |" in printed
    assert "| of the 9 best points after the first | 1 km |" in printed
    assert "| off | 10.0 | 50.0 | 100% |" in printed
    lines = printed[printed.index("| merged within") :].splitlines()[2:]
    merged = [float(line.split("|")[3]) for line in lines]
    assert len(merged) == 8
    assert merged == sorted(merged, reverse=True)

    (tmp_path / "places.csv").write_text("IMG_ID,LAT,LON\na,-50.9434,-72.9357\nb,0,-150\nc,95,0\n")  # the first point
    places = ["--places", str(tmp_path / "places.csv")]
    assert main(["--geoclip", str(geoclip_release), *places, "--topk", "10"]) == 1
    printed = capsys.readouterr()
    assert "2 places with a point: 50.0% within 1 km, 50.0% within 25 km, " in printed.out
    assert "row 2 (c): LAT, LON: not a coordinate" in printed.err

    with pytest.raises(SystemExit, match="away does not exist"):
        main(["--geoclip", "away"])
