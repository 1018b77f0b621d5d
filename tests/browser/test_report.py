"""The report in a browser: where things are on its map, and who can use it."""

import json
import math
import re
from dataclasses import replace
from xml.etree import ElementTree

import numpy as np
import pytest

from tests.located import HOSTILE, located, unknown, unsure
from utils.locating.results import ranking_json
from utils.page.entry import Located
from utils.photos.credit import Credit

SEVERAL = [located("a.jpg"), unsure(), unknown(), Located("broken.jpg", ValueError("broken.jpg: it is cut off"))]
SHARE_COLOURS = {1.0: (122, 1, 119), 0.5: (241, 115, 28)}  # of the largest share, and of half of it


def view(page) -> dict[str, float]:
    """The window of the map."""
    return page.evaluate("({...report.map.view})")


def pixel(page, latitude: float, longitude: float) -> tuple[float, float]:
    """Where a place has to be on the map: equirectangular, with degrees of longitude as long as in its middle."""
    now = view(page)
    east = (longitude - now["longitude"] + 180) % 360 - 180
    shrink = max(math.cos(math.radians(now["latitude"])), 0.15)
    return (
        now["width"] / 2 + now["scale"] * shrink * east,
        now["height"] / 2 - now["scale"] * (latitude - now["latitude"]),
    )


def colour(page, x: float, y: float) -> tuple[int, int, int]:
    """Of a pixel of the map, as it is painted now."""
    page.evaluate("report.map.paint()")
    return tuple(
        page.evaluate(
            "([x, y]) => [...report.map.canvas.getContext('2d').getImageData(x, y, 1, 1).data].slice(0, 3)",
            [round(x), round(y)],
        )
    )


def luminance(*parts: int) -> float:
    """WCAG's relative one of a colour."""
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in np.divide(parts, 255)]
    return float(np.dot((0.2126, 0.7152, 0.0722), linear))


def settled(page) -> None:
    """Wait until Blue Marble is decoded."""
    page.wait_for_function("report.map.background.complete")


def point_at(page, x: float, y: float) -> None:
    """Move the mouse to a pixel of the map."""
    box = page.locator(".map canvas").bounding_box()
    page.mouse.move(box["x"] + x, box["y"] + y)


@pytest.mark.parametrize("photos", [[located()], SEVERAL], ids=["one", "several"])
def test_nothing_is_asked_of_anybody(show, photos):
    opened = show(photos)
    page = opened.page
    for button in page.locator(".map-buttons button").all():
        button.click()
    if len(photos) > 1:
        page.locator(".photo-row a").first.click()
    for button in page.locator(".candidate button").all():
        button.hover()
    page.locator("summary").click()
    page.wait_for_timeout(100)
    assert opened.requests == []
    assert opened.messages == []


def test_pins_are_where_they_belong(show):
    page = show([located()]).page
    settled(page)
    for latitude, longitude, share in ((38.72, -9.14, 1.0), (38.70, -9.42, 0.5)):
        x, y = pixel(page, latitude, longitude)
        assert 0 < x < view(page)["width"]
        # Beside the number in its middle.
        assert colour(page, x - 6, y + 6) == SHARE_COLOURS[share]
    x, y = pixel(page, 38.8, -9.3)
    assert colour(page, x, y - 34) == (0, 163, 184)  # the star of the truth, on its stick
    # Numbers stand out from their pins, whatever their share.
    found = page.evaluate("[...Array(101).keys()].map((percent) => shareColour(percent / 100))")
    for percent, pin in enumerate(found):
        fill = luminance(*map(int, re.findall(r"\d+", pin["fill"])))
        ink = {"#fff": 1.0, "#000": 0.0}[pin["ink"]]
        assert (max(fill, ink) + 0.05) / (min(fill, ink) + 0.05) >= 4.5, percent


def crowded() -> Located:
    """Twelve candidates, of which the first, the third and so on lie within 20 km, two of them in one place."""
    answer = located().found
    places = []
    for number in range(12):
        near = (38.72 + 0.02 * (number % 3), -9.14 + 0.015 * (number // 4))
        far = (38.0 + 0.37 * number, -9.0 + 0.6 * math.sin(number))
        latitude, longitude = far if number % 2 else (near if number else (38.72, -9.125))
        candidate = replace(answer.candidate, latitude=latitude, longitude=longitude)
        places.append(replace(answer.places[0], candidate=candidate, share=0.12 - 0.006 * number))
    assert places[0].point == places[6].point
    first = places[0].candidate
    return located(places=tuple(places), candidate=first, latitude=first.latitude, longitude=first.longitude)


def numbers(page) -> dict[str, tuple[list[float], list[list[float]]]]:
    """What the map writes on discs: the boxes of a text, and of the discs that are painted after it."""
    return page.evaluate(
        """() => {
            const pen = CanvasRenderingContext2D.prototype;
            const [fillText, arc] = [pen.fillText, pen.arc];
            const written = {};
            pen.fillText = function (text, x, y) {
                const half = this.measureText(text).width / 2;
                if (/^[0-9]+$/.test(text)) written[text] = [[x - half, y - 5, x + half, y + 5], []];
                fillText.call(this, text, x, y);
            };
            pen.arc = function (x, y, r, ...more) {
                for (const [, discs] of Object.values(written)) discs.push([x - r, y - r, x + r, y + r]);
                arc.call(this, x, y, r, ...more);
            };
            report.map.paint();
            Object.assign(pen, { fillText, arc });
            return written;
        }"""
    )


def middle(box: list[float]) -> tuple[float, float]:
    return (box[0] + box[2]) / 2, (box[1] + box[3]) / 2


def covers(box: list[float], other: list[float]) -> bool:
    """Whether two boxes overlap by more than 2 pixels both ways."""
    across, down = (min(box[end], other[end]) - max(box[end - 2], other[end - 2]) for end in (2, 3))
    return across > 2 and down > 2


def test_every_number_can_be_seen(show):
    photo = crowded()
    page = show([photo]).page
    settled(page)
    points = {str(number): place.point for number, place in enumerate(photo.found.places, start=1)}
    # The first view, farther, all of the Earth, and closer around the first.
    for width, zoom in ((320, 1), (320, 0.001), (1280, 1), (1280, 0.25), (1280, 0.001), (1280, 1000)):
        page.set_viewport_size({"width": width, "height": 800})
        page.evaluate("zoom => { report.map.resize(); report.map.fit(); report.map.view.zoom(zoom); }", zoom)
        if zoom == 1000:
            page.evaluate("Object.assign(report.map.view, report.map.scene.pins[0])")
        written, window = numbers(page), view(page)
        buttons = [window["width"] - 52, 12, window["width"] - 12, 142]
        assert len(written) == 12 or zoom == 1000
        for number, (box, later) in written.items():
            x, y = pixel(page, *points[number])
            if not (0 < x < window["width"] and 0 < y < window["height"]):
                continue
            assert min(box[:2]) >= 0, (zoom, number)
            assert box[2] <= window["width"], (zoom, number)
            assert box[3] <= window["height"], (zoom, number)
            assert not [other for other in [*later, buttons] if covers(box, other)], (zoom, number)
    close = {number: math.dist(middle(box), pixel(page, *points[number])) for number, (box, _) in written.items()}
    assert {"1", "3", "5"} < close.keys()
    assert [number for number, off in close.items() if off > 1] == ["7"]  # it lies where 1 does
    # The mouse finds a number where it stands.
    page.evaluate("report.map.fit()")
    for number, (box, _) in list(numbers(page).items())[::4]:
        point_at(page, *middle(box))
        assert page.locator(".candidate.lit .number").inner_text() == number


@pytest.mark.parametrize("step", [0.3, 0.7, 1.1])
def test_the_edge_of_the_first_view_cuts_no_pin(show, step):
    """However many unlikely candidates lie in a row towards it; one on the other side of the Earth is not shown."""
    answer = located().found
    points = [(38.72 - 0.01 * number, -9.14 + step * number) for number in range(14)] + [(35.7, 139.7)]
    candidates = [replace(answer.candidate, latitude=latitude, longitude=longitude) for latitude, longitude in points]
    shares = [0.9, *[0.1 / 14] * 14]
    places = [replace(answer.places[0], candidate=at, share=part) for at, part in zip(candidates, shares, strict=True)]
    first = {"candidate": candidates[0], "latitude": points[0][0], "longitude": points[0][1]}
    page = show([located(places=tuple(places), **first)]).page
    for width in (320, 1280):
        page.set_viewport_size({"width": width, "height": 800})
        page.evaluate("report.map.resize(); report.map.fit()")
        window, spots = view(page), page.evaluate("report.map.spots()")
        for point, (x, y), part in zip(points, spots, shares, strict=True):
            radius = 8 + 7 * math.sqrt(part / 0.9)
            is_whole = radius <= x <= window["width"] - radius and radius <= y <= window["height"] - radius
            is_outside = x <= -radius or x >= window["width"] + radius
            assert is_whole or is_outside, (width, point)
            belongs = pixel(page, *point)[0]  # which the pin may be moved away from
            assert is_whole == (0 <= belongs <= window["width"]), (width, point)
        assert not 0 <= spots[-1][0] <= window["width"]


def test_a_drag_moves_the_earth_with_the_mouse_and_a_wheel_zooms_around_it(show):
    page = show([located()]).page
    before = pixel(page, 39.6, -8.41)
    point_at(page, 300, 300)
    page.mouse.down()
    point_at(page, 250, 340)
    page.mouse.up()
    assert view(page)["longitude"] != pytest.approx(-9.4, abs=0.05)
    after = pixel(page, 39.6, -8.41)
    # The scale across changes with the latitude in the middle, if little.
    assert after == pytest.approx((before[0] - 50, before[1] + 40), abs=2)
    x, y = pixel(page, 39.6, -8.41)
    scale = view(page)["scale"]
    point_at(page, x, y)
    page.mouse.wheel(0, -400)
    page.wait_for_function(f"report.map.view.scale > {1.5 * scale}")
    assert pixel(page, 39.6, -8.41) == pytest.approx((x, y), abs=2)


def test_land_and_sea_are_where_they_are(show):
    page = show(SEVERAL).page
    settled(page)
    page.evaluate("report.map.towns = []; report.map.scene = {pins: [], regions: []}; report.map.view.zoom(0.001)")
    for latitude, longitude in ((23.0, 10.0), (-25.0, 134.0), (61.0, 100.0), (-10.0, -60.0)):  # four continents
        red, _, blue = colour(page, *pixel(page, latitude, longitude))
        assert red > blue, (latitude, longitude)
    for latitude, longitude in ((30.0, -40.0), (-30.0, 80.0), (10.0, -140.0), (35.0, 18.0)):  # and their seas
        red, _, blue = colour(page, *pixel(page, latitude, longitude))
        assert blue > red, (latitude, longitude)


def test_places_on_both_sides_of_the_dateline_stand_together(show):
    answer = located().found
    east, west = (replace(answer.places[0].candidate, latitude=-17.0, longitude=side) for side in (179.8, -179.8))
    places = (replace(answer.places[0], candidate=east), replace(answer.places[1], candidate=west))
    page = show([located(places=places, candidate=east, latitude=-17.0, longitude=179.8, regions=None)]).page
    page.evaluate("Object.assign(report.map.scene, {truth: undefined}); report.map.fit()")
    left, right = pixel(page, -17.0, 179.8), pixel(page, -17.0, -179.8)
    assert 0 < left[0] < right[0] < view(page)["width"]
    assert colour(page, left[0] - 6, left[1] + 6) == SHARE_COLOURS[1.0]
    assert colour(page, right[0] - 6, right[1] + 6) == SHARE_COLOURS[0.5]


def test_regions_are_filled_to_their_radius(show):
    page = show([located()]).page
    settled(page)
    page.evaluate("report.map.towns = []; report.map.view.zoom(0.7)")
    degrees = 90 / 111.195  # km of the larger region
    inner, outer = (pixel(page, 38.70 - factor * degrees, -9.42) for factor in (0.93, 1.07))
    with_regions = [colour(page, *spot) for spot in (inner, outer)]
    page.evaluate("report.map.scene.regions = []")
    without = [colour(page, *spot) for spot in (inner, outer)]
    assert with_regions[0] != without[0]
    assert with_regions[1] == without[1]


def test_a_row_lights_its_pin_and_a_pin_its_row(show):
    page = show([located()]).page
    rows = page.locator(".candidate")
    rows.nth(2).locator("button").hover()
    assert page.evaluate("report.map.lit") == 2
    point_at(page, *pixel(page, 38.72, -9.14))
    assert [row.get_attribute("class") for row in rows.all()] == ["candidate lit", *["candidate"] * 3]
    assert page.locator(".announce").inner_text() == "1: Lisbon, Portugal, 50.0%"
    point_at(page, 5, 300)
    assert page.evaluate("report.map.lit") is None
    assert page.locator(".lit").count() == 0


def test_everything_can_be_done_by_keyboard(show):
    page = show([located()]).page
    seen = []
    for _ in range(25):
        page.keyboard.press("Tab")
        focused = page.evaluate(
            "(e => e.matches(':focus-visible') && getComputedStyle(e).outlineStyle !== 'none'"
            " ? e.tagName + ' ' + (e.ariaLabel || e.innerText).slice(0, 20) : 'not visible')(document.activeElement)"
        )
        seen.append(focused)
        if focused.startswith("CANVAS"):
            at = view(page)
            for key in ("ArrowRight", "ArrowUp", "+"):
                page.keyboard.press(key)
            moved = view(page)
            assert moved["longitude"] > at["longitude"]
            assert moved["latitude"] > at["latitude"]
            assert moved["scale"] == pytest.approx(1.5 * at["scale"])
            page.keyboard.press("0")
            assert view(page) == pytest.approx(at)
            page.keyboard.press("n")
            page.keyboard.press("n")
            assert page.locator(".announce").inner_text() == "2: Cascais, Portugal, 25.0%"
        if focused.startswith("BUTTON 3"):
            assert page.evaluate("report.map.lit") == 2
    assert "not visible" not in seen[:16]
    for name in (
        "A OpenStreetMap",
        "CANVAS Map of the",
        "BUTTON Zoom in",
        "SUMMARY Regions",
        "BUTTON 1",
        "BUTTON JSON",
    ):
        assert any(one.startswith(name) for one in seen), name


def test_two_fingers_zoom(show):
    page = show([located()], width=400, has_touch=True).page
    page.locator(".map canvas").scroll_into_view_if_needed()
    box = page.locator(".map canvas").bounding_box()
    before = view(page)
    session = page.context.new_cdp_session(page)

    def fingers(kind: str, *across: float) -> None:
        points = [{"x": box["x"] + x, "y": box["y"] + 150, "id": n} for n, x in enumerate(across)]
        session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    fingers("touchStart", 150, 200)
    for step in range(1, 6):
        fingers("touchMove", 150 - 5 * step, 200 + 5 * step)
    fingers("touchEnd")
    assert view(page)["scale"] == pytest.approx(2 * before["scale"], rel=0.05)


SCREENFULS = {photo.name: [photo] for photo in SEVERAL} | {"several": SEVERAL}


@pytest.mark.parametrize("photos", SCREENFULS.values(), ids=SCREENFULS)
def test_nothing_is_wider_than_a_small_screen(show, photos):
    long = "a_very_long_name_of_a_file_without_any_space_in_it_" * 4
    photos = [*photos[:-1], replace(photos[-1], name=long)]
    page = show(photos, width=320).page
    assert page.evaluate("document.documentElement.scrollWidth") == 320
    if len(photos) > 1:
        page.locator(".photo-row a").last.click()
        assert page.evaluate("document.documentElement.scrollWidth") == 320


def test_a_reader_who_sees_nothing_gets_it_all(show):
    page = show([located()]).page
    assert page.locator("h1").inner_text() == "Cascais, Portugal"
    assert page.get_by_role("img", name="The photo that was asked about: photo.jpg").count() == 1
    assert page.get_by_role("application", name="Map of the candidates").count() == 1
    rows = page.get_by_role("main").locator(".candidates").get_by_role("button").all()
    said = [" ".join(row.inner_text().split()) for row in rows]
    assert said[0].startswith("1 Lisbon, Portugal similar photo 38.7200° N, 9.1400° W reward -1.000")
    assert [" ".join(row.inner_text().split()) for row in page.locator(".chances li").all()] == [
        "within 1 km hardly ever",
        "within 25 km 25%",
        "within 200 km 62%",
        "within 750 km 70%",
        "within 2,500 km nearly always",
    ]
    assert all(image.get_attribute("alt") is not None for image in page.locator("main img").all())


def test_every_state_says_what_it_is(show):
    page = show(SEVERAL).page
    assert page.locator("h1").inner_text() == "3 of 4 photos have a place"
    assert [row.locator(".said").inner_text() for row in page.locator(".photo-row").all()] == [
        "62% within 200 km",
        "not sure",
        "confidence unknown",
        "no place",
    ]
    titles = ["Cascais, Portugal", "Not sure", "Cascais, Portugal", "broken.jpg"]
    for number, title in enumerate(titles):
        page.locator(".photo-row a").nth(number).click()
        page.locator("h1", has_text=title).wait_for()  # the map may be as high as that of all photos was
        page.wait_for_function("report.map.view.height === report.map.canvas.clientHeight")
        there = view(page)
        page.evaluate("report.map.fit()")
        assert view(page) == there  # though it is higher than that of all photos
        assert page.locator("h1").inner_text() == title
        assert page.evaluate("document.activeElement.tagName") == "H1"
        text = page.locator("main").inner_text()
        assert ("How sure is it?" in text) == (number < 2)
        assert ("Less sure than the 90.5% within 200 km" in text) == (number == 1)
        assert ("argmax was not calibrated" in text) == (number == 2)
        assert ("carries coordinates in its EXIF. They were not used." in text) == (number == 2)
        assert ("it is cut off" in text) == (number == 3)
        page.locator(".back a").click()


def test_photos_are_found_by_name_or_place(show):
    page = show(SEVERAL).page
    page.get_by_role("searchbox").fill("UNSURE")
    assert page.locator(".photo-row:visible").count() == 1
    assert page.get_by_role("status").inner_text() == "1 found"
    page.get_by_role("searchbox").fill("cascais")
    assert page.locator(".photo-row:visible").count() == 3


def test_json_geojson_and_kml_can_be_taken(show):
    photo = located()
    page = show([photo]).page
    texts = {}
    for name in ("JSON", "GeoJSON", "KML"):
        with page.expect_download() as event:
            page.get_by_role("button", name=name, exact=True).click()
        assert event.value.suggested_filename == f"locations.{name.lower()}"
        texts[name] = event.value.path().read_text(encoding="utf-8")
    expected = json.loads(json.dumps(ranking_json(photo.found, {"photo": photo.name}, photo.truth)))
    assert json.loads(texts["JSON"]) == expected
    assert len(json.loads(texts["GeoJSON"])["features"]) == 8
    assert len(ElementTree.fromstring(texts["KML"])[0]) == 9


def test_whose_a_candidates_photo_is_stands_under_it(show):
    answer = located().found
    credits = [
        Credit(HOSTILE, "", "CC BY-SA 4.0", "https://there/licence", "https://www.here/photo?a=1"),
        Credit("", "", "", "javascript:alert(1)", "a folder of mine"),
        Credit("of one whose photo is not shown", "", "", "", ""),
    ]
    given = dict(enumerate(credits))
    places = [replace(place, credit=given.get(number)) for number, place in enumerate(answer.places)]
    opened = show([located(places=tuple(places), candidate=places[1].candidate)])
    lines = opened.page.locator(".candidate .credit")
    assert lines.all_inner_texts() == [
        f"Photo: {HOSTILE}, www.here, CC BY-SA 4.0",
        "Photo: unknown author, a folder of mine, licence not stated",
    ]
    links = [(link.inner_text(), link.get_attribute("href")) for link in lines.locator("a").all()]
    assert links == [("www.here", "https://www.here/photo?a=1"), ("CC BY-SA 4.0", "https://there/licence")]
    assert {link.get_attribute("rel") for link in lines.locator("a").all()} == {"noopener noreferrer"}
    after = "link => getComputedStyle(link, '::after').content"
    assert lines.locator("a").first.evaluate(after) == "none"
    opened.page.emulate_media(media="print")  # where nobody can follow a link
    assert lines.locator("a").first.evaluate(after) == '" (https://www.here/photo?a=1)"'
    assert opened.messages == []


def test_hostile_names_stay_text(show):
    photo = located(HOSTILE, place=HOSTILE, notes=(HOSTILE,), ranker=HOSTILE)
    places = tuple(replace(place, name=HOSTILE) for place in photo.found.places)
    photo = replace(photo, found=replace(photo.found, places=places))
    for photos in ([photo], [photo, located()]):
        opened = show(photos)
        if len(photos) > 1:
            opened.page.locator(".photo-row a").first.click()
        assert opened.page.locator("h1").inner_text() == HOSTILE
        assert opened.page.locator("[onerror]").count() == 0
        assert opened.page.locator(".candidate .place").first.inner_text() == HOSTILE
        assert (opened.requests, opened.messages) == ([], [])


def test_dark_where_that_is_preferred_and_light_on_paper(show):
    def background(page) -> str:
        return page.evaluate("getComputedStyle(document.body).backgroundColor")

    light, dark = (show([located()], color_scheme=scheme).page for scheme in ("light", "dark"))
    assert background(light) == "rgb(251, 250, 248)"
    assert background(dark) == "rgb(18, 21, 27)"
    dark.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert background(dark) == background(light)
    dark.emulate_media(media="print")
    assert not dark.locator(".map-buttons").is_visible()
    assert dark.locator(".map canvas").is_visible()
    assert dark.locator(".candidate").first.is_visible()


def test_paper_shows_all_that_the_screen_does(show):
    page = show([crowded()]).page
    page.evaluate("report.map.fit(); report.map.view.move(60, -20)")
    before, seen = view(page), numbers(page).keys()
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    page.emulate_media(media="print")
    assert numbers(page).keys() >= seen
    paper = view(page)
    assert (paper["width"], paper["height"]) == (720, 480)
    assert paper["height"] / paper["scale"] >= before["height"] / before["scale"] * 0.999
    box = page.locator(".map canvas").bounding_box()
    assert box["width"] / box["height"] == pytest.approx(1.5, abs=0.01)
    assert page.locator("details li").first.is_visible()
    page.emulate_media(media="screen")
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert view(page) == before


def test_without_scripts_there_is_the_text(show):
    page = show([located()], java_script_enabled=False).page
    assert "1. 50.0% Lisbon, Portugal" in page.locator("noscript").inner_text()
