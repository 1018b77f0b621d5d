"""What is exported as OSV-5M and as WebDataset is imported as the gallery that it was."""

import pytest

from earth.export_gallery import main
from tools.import_gallery import main as import_gallery
from utils.photos.store import ImageStore
from utils.tables.ledger import ledger_path, read_credits
from utils.tables.metadata import read_metadata


@pytest.fixture(scope="module")
def exported(small_earth, tmp_path_factory):
    folder = tmp_path_factory.mktemp("exported") / "mini"
    assert main([str(folder), "--gallery", str(small_earth / "data" / "gallery")]) == 0
    return folder


@pytest.mark.parametrize(
    ("kind", "source", "photos"),
    [("osv5m", "train.csv", "images/train"), ("webdataset", "shards/*.tar", "shards")],
)
def test_the_gallery_comes_back(small_earth, exported, kind, source, photos, tmp_path):
    gallery, table = small_earth / "data" / "gallery", tmp_path / "metadata.csv"
    assert import_gallery([kind, *map(str, sorted(exported.glob(source))), str(table)]) == 0
    given = read_metadata(gallery / "metadata.csv").sort_values(["LAT", "LON"])
    found = read_metadata(table).sort_values(["LAT", "LON"])
    same = ["LAT", "LON", "city", "county", "state", "country"]
    assert found[same].to_numpy().tolist() == given[same].to_numpy().tolist()
    before, after = ImageStore.from_paths([gallery / "images.tar"]), ImageStore.from_paths([exported / photos])
    for old, new in zip(given["IMG_ID"], found["IMG_ID"], strict=True):
        assert after.read(new)[0] == before.read(old)[0]
    credits = read_credits(ledger_path(table), list(found["IMG_ID"]))
    assert {(credit.author, credit.author_id) for credit in credits.values()} == {("mapper 0", "0")}


def test_a_folder_that_holds_something_is_left_alone(small_earth, tmp_path):
    (tmp_path / "mine").touch()
    with pytest.raises(SystemExit, match=r"exists and is not an empty folder: name a new one$"):
        main([str(tmp_path), "--gallery", str(small_earth / "data" / "gallery")])
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]
