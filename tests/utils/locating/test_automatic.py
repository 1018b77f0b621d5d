"""Where nobody says what should locate a photo: the best that is on the machine."""

import shlex
import shutil
from dataclasses import replace

import pytest

from utils.answer import Demand
from utils.geo_ranker import GeoRanker
from utils.locating import automatic
from utils.locating.choices import Choices
from utils.photos.images import ImageError


@pytest.fixture
def photos(tmp_path, make_image):
    """a.png, b.png and c.png; 1.jpg is no photo."""
    for number, name in enumerate("abc"):
        make_image(24, 24, number).save(tmp_path / f"{name}.png")
    (tmp_path / "1.jpg").write_bytes(b"no photo")
    return tmp_path


@pytest.fixture(autouse=True)
def machine(monkeypatch, tmp_path):
    """Without GeoCLIP's CLIP, in a checkout with the shipped weights; Earth's gallery is not built."""
    monkeypatch.setattr(automatic, "is_available", lambda: False)
    earth = replace(automatic.BENCHMARKS["earth"], gallery_index=str(tmp_path / "index"))
    monkeypatch.setattr(automatic, "BENCHMARKS", {"earth": earth})
    return earth


def judge(monkeypatch, *tiles: bool) -> None:
    """Let the shipped adapter know the photos that it is asked about as these say."""
    judgements = iter(tiles)
    monkeypatch.setattr(GeoRanker, "knows", lambda ranker, photo: next(judgements))


def test_tiles_are_ranked_by_the_shipped_adapter(photos, machine, monkeypatch):
    ranked = Choices("checkpoints/earth-base", "checkpoints/earth", generate=3, known_only=True)
    judge(monkeypatch, True)
    choices, loaded = automatic.choose(photos / "a.png", device="cpu")
    assert choices == ranked
    assert loaded.name == "checkpoints/earth"  # it is not loaded a second time
    judge(monkeypatch, True, False, True)  # most of a folder's
    assert automatic.choose(photos, device="cpu")[0] == ranked
    (photos / "index").mkdir()
    (photos / "index" / "index.json").touch()
    (photos / "images.tar").touch()
    built = replace(machine, image_data_path=str(photos / "images.tar"))
    monkeypatch.setattr(automatic, "BENCHMARKS", {"earth": built})
    judge(monkeypatch, True)
    found, _ = automatic.choose(photos / "a.png", demand=Demand(0.5, 25), device="cpu")
    gallery = {"index": photos / "index", "image_data_path": str(photos / "images.tar")}
    assert found == replace(ranked, demand=Demand(0.5, 25), **gallery)


def test_the_shipped_tower_tells_a_photograph_from_a_tile(photos):
    """By its content: what it is called, and where it lies, say nothing."""
    with pytest.raises(ValueError, match="does not look like a tile of the embedded world"):
        automatic.choose(photos / "a.png", device="cpu")


def test_photographs_get_a_vote_of_geoclips_points_where_they_can(photos, monkeypatch):
    monkeypatch.setattr(automatic, "is_available", lambda: True)
    judge(monkeypatch, False)
    assert automatic.choose(photos / "a.png", device="cpu") == (Choices(retriever="geoclip"), None)
    judge(monkeypatch, True, False, False)
    assert automatic.choose(photos, device="cpu") == (Choices(retriever="geoclip"), None)


@pytest.mark.parametrize(("available", "retriever"), [(True, "geoclip"), (False, None)])
def test_a_servers_guesses_count_where_there_is_one(photos, monkeypatch, available, retriever):
    monkeypatch.setattr(automatic, "is_available", lambda: available)
    judge(monkeypatch, False)
    found = automatic.choose(photos / "a.png", "m", "http://host/v1", device="cpu")
    assert found == (Choices(retriever=retriever, generate=3, model_name="m", base_url="http://host/v1"), None)


def test_what_would_help_is_said_where_nothing_does(photos, monkeypatch):
    judge(monkeypatch, False)
    with pytest.raises(ValueError, match=r"(?s)a\.png does not .*--retriever geoclip\n.*1\.7 GB.*4\.4 GB.*16\.6 GB"):
        automatic.choose(photos / "a.png", device="cpu")
    judge(monkeypatch, False, False, True)
    with pytest.raises(ValueError, match=f"^{photos} has few tiles of the embedded world, and nothing"):
        automatic.choose(photos, device="cpu")


def test_commands_that_are_suggested_can_be_pasted(photos, monkeypatch):
    monkeypatch.setattr(automatic, "package_folder", lambda: None)
    photo = shutil.copy(photos / "a.png", photos / "my $holiday's.png")
    judge(monkeypatch, False)
    with pytest.raises(ValueError, match="once:\n    pip install --no-deps geoclip\n    python quick_start") as found:
        automatic.choose(photo, device="cpu")
    commands = [line.split("--image ")[1] for line in str(found.value).splitlines() if "--image " in line]
    assert [shlex.split(command)[0] for command in commands] == [str(photo)] * 3


def test_a_photo_that_cannot_be_read_is_named(photos):
    with pytest.raises(ImageError, match=r"1\.jpg"):
        automatic.choose(photos / "1.jpg", device="cpu")
