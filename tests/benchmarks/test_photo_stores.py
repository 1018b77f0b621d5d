"""A small run reads the same photos from every store."""

import json

from benchmarks import photo_stores
from tests.pictures import encoded, photo
from tests.tars import write_tar
from utils.photos.tar_index_build import index_tar


def test_small_run(tmp_path, capsys):
    tar = write_tar(tmp_path / "0.tar", [(f"{number}.png", encoded(photo(seed=number))) for number in range(9)])
    index_tar(tar)
    output = tmp_path / "out.json"
    arguments = ["--tar", str(tar), "--photos", "7", "--workers", "2", "--repeats", "1", "--output", str(output)]
    assert photo_stores.main(arguments) == 0
    results = json.loads(output.read_text())
    assert (results["photos"], results["workers"]) == (7, 2)
    assert list(results["stores"]) == ["folder", "tar", "zips, stored", "zips, deflated"]
    for figures in results["stores"].values():
        assert all(value > 0 for value in figures.values())
        assert len(figures) == 4
    assert "| zips, deflated |" in capsys.readouterr().out
