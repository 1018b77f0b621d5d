"""Photos in, JSON out, over a real connection."""

import io
import json
import struct
import threading
import zlib

import httpx
import pytest
from PIL import Image

from tests.served import SECONDS, app_served, located, png, until
from utils.locating.task import Unanswered
from utils.photos.images import ImageError
from utils.servers.errors import ServerError
from utils.web import schema


@pytest.fixture(scope="module")
def shared():
    with app_served() as served:
        yield served


@pytest.fixture
def app(shared):
    finder = shared.finder
    finder.failing, finder.asked = None, []
    finder.gate.set()
    return shared


def error(response: httpx.Response) -> str:
    """The one line of an error, which names nothing of this machine."""
    assert response.headers["content-type"] == "application/json"
    (text,) = response.json().values()
    assert "\n" not in text
    assert "/" not in text.replace("/openapi.json", "").replace("multipart/form-data", "")
    assert "Traceback" not in text
    return text


def test_a_photo_gets_what_ranking_json_has(app):
    response = app.ask(name="beach.png")
    assert response.status_code == 200
    found = response.json()
    expected = {"photo": "beach.png"} | json.loads(json.dumps(located().as_json()))
    # But for the folders of this machine.
    expected |= {"ranker": "ranker", "used": ["1 similar photo of gallery"]}
    expected["prediction"]["image"] = expected["candidates"][0]["image"] = "lisbon.jpg"
    assert found == expected
    schema.Ranking.model_validate(found)  # which refuses what is not described
    ((size, settings),) = app.finder.asked
    assert size == (16, 12)
    assert settings.model_dump(exclude_none=True) == {}


def test_settings_are_fields_of_the_form(app):
    fields = {"sources": ["gallery"], "generate": "5", "decode": "consensus", "min_confidence": "0.9", "within": "25"}
    response = app.ask(**fields)
    assert response.json()["answered"] is False
    assert response.json()["demand"] == {"confidence": 0.9, "within_km": 25}
    ((_, settings),) = app.finder.asked
    given = {"sources": ["gallery"], "generate": 5, "decode": "consensus", "min_confidence": 0.9, "within": 25}
    assert settings.model_dump() == given


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"generate": "many"}, "'generate': Input should be a valid integer"),
        ({"generate": "17"}, "less than or equal to 16"),
        ({"within": "30"}, "'within': Input should be 1, 25, 200, 750 or 2500"),
        ({"min_confidence": "nan"}, "'min_confidence'"),
        ({"min_confidence": ["0.5", "0.6"]}, "'min_confidence': given twice"),
        ({"sources": ["list"]}, "sources: the app was started without list"),
        ({"sources": ["everywhere"]}, "'sources.0'"),
        ({"decode": "fused"}, "decode: it is argmax, consensus"),
        ({"<script>": "1"}, "'<script>': Extra inputs are not permitted"),
    ],
)
def test_a_wrong_field_is_named(app, fields, words):
    response = app.ask(**fields)
    assert response.status_code == 422
    assert words in error(response)
    assert app.finder.asked == []


def bomb(width: int, height: int) -> bytes:
    """A PNG whose head says so many pixels, with next to nothing behind it."""
    parts = [
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)),
        (b"IDAT", zlib.compress(b"")),
        (b"IEND", b""),
    ]
    chunks = (
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in parts
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


@pytest.mark.parametrize(
    ("photo", "words"),
    [
        (b"no photo", "not an image of a known format"),
        (png()[:45], "truncated"),
        (b"\xff\xd8\xff\xe0 and no more", "Truncated"),
        (bomb(65_536, 65_536), "more than 50 megapixels (Image size (4294967296 pixels)"),
        (bomb(10_000, 5_001), "10000 x 5001 pixels, 50.01 megapixels, are more than 50"),
        (png(2010, 10), "longer than 200 : 1"),
    ],
    ids=["text", "cut", "head", "bomb", "large", "strip"],
)
def test_what_is_no_photo_is_said_so(app, photo, words):
    response = app.ask(photo)
    assert response.status_code == 422
    assert words in error(response)
    assert not error(response).startswith("photo in memory")


def test_48_megapixels_are_read(app):
    file = io.BytesIO()
    Image.new("1", (8000, 6000)).save(file, "PNG")
    assert app.ask(file.getvalue()).status_code == 200
    assert app.finder.asked[0][0] == (8000, 6000)


@pytest.mark.parametrize(
    ("failing", "status", "words"),
    [
        (ImageError("no place to rank\n/srv/photos/a.jpg: missing"), 422, "no place to rank a.jpg: missing"),
        (Unanswered("no place to rank\nno guesses: /srv/a: APIConnectionError"), 502, "no guesses"),
        (ServerError("401 at https:\\ who are you?"), 502, "who are you?"),
        (MemoryError(), 507, "memory"),
        (KeyError("/srv/secret"), 500, "an error of the app"),
    ],
)
def test_what_fails_is_said_without_what_stands_behind_it(app, failing, status, words):
    app.finder.failing = failing
    response = app.ask()
    assert response.status_code == status
    assert words in error(response)
    assert "secret" not in response.text
    state = app.ended(app.submit())
    assert words in state["error"]
    assert state["retry"] is (status != 422)
    app.finder.failing = None
    assert app.ask().status_code == 200  # it costs only itself


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("../../etc/passwd", "passwd"),
        ("C:\\Users\\me\\beach.jpg", "beach.jpg"),
        ("<img src=x onerror=alert(1)>.jpg", "<img src=x onerror=alert(1)>.jpg"),
        ("a\u202egpj.exe", "agpj.exe"),
        ("x" * 400 + ".jpg", "x" * 120),
        ("ü 图.jpg", "ü 图.jpg"),
        ("..", "photo"),
    ],
)
def test_names_of_files_are_only_names(app, name, shown):
    response = app.ask(name=name)
    assert response.json()["photo"] == shown


def test_health_and_options_are_as_described(app):
    assert app.client.get("/api/health").json() == {"status": "ok", "waiting": 0}
    options = schema.Options.model_validate(app.client.get("/api/options").json())
    assert (options.sources.keys(), options.generate) == ({"gallery", "guesses"}, 3)
    assert (options.most_upload_bytes, options.most_pixels) == (2**20, 50_000_000)
    assert (options.kept, options.sent_to) == (False, None)
    assert options.decides == ["the GeoRanker in ranker"]


def test_openapi_describes_what_is_there(app):
    described = app.client.get("/openapi.json").json()
    assert described["openapi"].startswith("3.")
    operations = {(method.upper(), path) for path, found in described["paths"].items() for method in found}
    jobs = {("POST", "/api/jobs"), ("GET", "/api/jobs/{name}"), ("DELETE", "/api/jobs/{name}")}
    jobs |= {("GET", "/api/jobs/{name}/ranking"), ("GET", "/api/jobs/{name}/report")}
    assert operations == jobs | {("POST", "/api/locate"), ("GET", "/api/health"), ("GET", "/api/options")}
    form = described["paths"]["/api/locate"]["post"]["requestBody"]["content"]["multipart/form-data"]["schema"]
    assert form["properties"].keys() == {"photo", "sources", "generate", "decode", "min_confidence", "within"}
    # Every path answers as it says, errors included.
    for method, path in operations:
        response = app.client.request(method, path.format(name="away"))
        declared = described["paths"][path][method.lower()]["responses"]
        assert str(response.status_code) in declared, (method, path, response.status_code)
    for page in ("/docs", "/redoc"):  # which would load scripts from elsewhere
        assert app.client.get(page).status_code == 404


def test_a_job_is_followed_to_its_end(app):
    app.finder.gate.clear()
    first = app.submit()
    app.finder.began.acquire(timeout=SECONDS)
    second = app.submit()
    assert app.client.get(f"/api/jobs/{first}").json() == {
        "id": first,
        "stage": "candidates",
        "before": 0,
        "error": None,
        "retry": False,
    }
    assert app.client.get(f"/api/jobs/{second}").json() == {
        "id": second,
        "stage": "waiting",
        "before": 1,
        "error": None,
        "retry": False,
    }
    early = app.client.get(f"/api/jobs/{second}/ranking")
    assert (early.status_code, error(early)) == (409, "the photo is not located yet")
    app.finder.gate.set()
    for job in (first, second):
        assert app.ended(job)["stage"] == "done"
        assert app.client.get(f"/api/jobs/{job}/ranking").json()["prediction"]["place"] == "Lisbon, Portugal"
    shown = app.client.get(f"/api/jobs/{first}/shown").json()
    assert shown.keys() == {"entry", "towns", "files"}
    assert "/srv" not in json.dumps(shown)
    assert "Lisbon" in [name for name, *_ in shown["towns"]]
    assert app.client.delete(f"/api/jobs/{first}").status_code == 204
    assert app.client.get(f"/api/jobs/{first}/ranking").status_code == 404


def test_a_report_is_one_file(app):
    job = app.submit()
    app.ended(job)
    report = app.client.get(f"/api/jobs/{job}/report")
    assert report.text.startswith("<!doctype html>")
    assert report.headers["content-disposition"] == 'attachment; filename="report.html"'
    assert "/srv" not in report.text


def test_a_failed_job_says_why(app):
    state = app.ended(app.client.post("/api/jobs", files={"photo": ("a.jpg", b"no photo")}).json()["id"])
    assert state["stage"] == "failed"
    assert "known format" in state["error"]
    assert state["retry"] is False
    assert app.client.get(f"/api/jobs/{state['id']}/ranking").status_code == 422


def test_ten_photos_at_once_get_a_place_each(app):
    answers = []
    threads = [threading.Thread(target=lambda n=n: answers.append(app.ask(name=f"{n}.png"))) for n in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {answer.status_code for answer in answers} == {200}
    assert {answer.json()["photo"] for answer in answers} == {f"{n}.png" for n in range(10)}


def test_who_hangs_up_is_not_waited_for(app):
    app.finder.gate.clear()
    job = app.submit()
    app.finder.began.acquire(timeout=SECONDS)
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(f"{app.url}/api/locate", files={"photo": ("a.png", png())}, timeout=0.3)
    until(lambda: app.client.get("/api/health").json()["waiting"] == 0)
    app.finder.gate.set()
    app.ended(job)
    assert len(app.finder.asked) == 1


def test_beyond_the_queue_it_is_said_when_to_come_again():
    with app_served(max_queue=2) as app:
        app.finder.gate.clear()
        running = app.submit()
        app.finder.began.acquire(timeout=SECONDS)
        waiting = [app.submit(), app.submit()]
        for path in ("/api/jobs", "/api/locate"):
            full = app.ask(path=path)
            assert (full.status_code, int(full.headers["retry-after"]) > 0) == (503, True)
            assert error(full) == "2 photos are waiting already: try again later"
        assert app.client.delete(f"/api/jobs/{waiting[0]}").status_code == 204  # makes room
        waiting[0] = app.submit()
        app.finder.gate.set()
        assert [app.ended(job)["stage"] for job in (running, *waiting)] == ["done"] * 3


def test_photos_are_kept_only_where_that_was_asked_for(tmp_path):
    with app_served(keep=tmp_path / "kept") as app:
        assert app.client.get("/api/options").json()["kept"] is True
        assert app.ask(name="../../../x.png").status_code == 200
        assert app.ask(b"no photo").status_code == 422
        photo, ranking = sorted((tmp_path / "kept").iterdir(), key=lambda path: path.suffix, reverse=True)
        assert (photo.suffix, ranking.suffix, photo.stem) == (".png", ".json", ranking.stem)
        assert photo.read_bytes() == png()
        assert json.loads(ranking.read_text(encoding="utf-8"))["photo"] == "x.png"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["kept"]


def test_the_shipped_ranker_answers_as_its_locator_does(tmp_path):
    from utils.locating.choices import Choices
    from utils.locating.sources import ListedPlaces
    from utils.web.finder import Finder

    places = ListedPlaces.read(None, [(46.2, 7.1), (44.2, 6.7), (-33.9, 151.2)])
    finder = Finder.chosen(Choices("checkpoints/earth-base", "checkpoints/earth", places=places), "cpu")
    Image.new("RGB", (64, 64), "sienna").save(tmp_path / "tile.png")
    alone = finder.of_others.locate((tmp_path / "tile.png").read_bytes())
    with app_served(finder) as app:
        found = app.ask((tmp_path / "tile.png").read_bytes(), decode="consensus").json()
    assert [place["reward"] for place in found["candidates"]] == pytest.approx([place.reward for place in alone.places])
    assert (found["decode"], found["ranker"]) == ("consensus", "checkpoints/earth")
    schema.Ranking.model_validate(found)
