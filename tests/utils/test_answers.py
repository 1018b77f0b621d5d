import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from utils.answers import parse_answer, parse_answers

latitudes = st.decimals(-90, 90, places=6).map(float)
longitudes = st.decimals(-180, 180, places=6).map(float)


@pytest.mark.parametrize(
    ("answer", "place"),
    [
        ('{"latitude": 46.17,"longitude": 7.1}', (46.17, 7.1)),
        ('```json\n{"latitude": -46.17, "longitude": "7.1"}\n```', (-46.17, 7.1)),
        ('It may lie near latitude 40. My guess: {"lat": 41.2, "lng": 2.1}. Or not.', (41.2, 2.1)),
        ('{"location": {"longitude": 2.5, "latitude": 1.5}}', (1.5, 2.5)),
        ('{"latitude": 46.17,"longitude": 7.1', (46.17, 7.1)),
        ("Latitude: 46.17° N, Longitude: 7.10° W", (46.17, -7.1)),
        ("**Latitude:** 46.17. **Longitude:** -7.1.", (46.17, -7.1)),
        ('{"latitude": "46.1 S", "longitude": "7 W"}', (-46.1, -7.0)),
        ("46.2 south, 7.1 west", (-46.2, -7.1)),
        ("7.1° E, 46.2° N", (46.2, 7.1)),
        ("46.17N,7.10E", (46.17, 7.1)),
        ("(\N{MINUS SIGN}33.87, 151.21)", (-33.87, 151.21)),
        ("46°30'36\"N 7°15'E", (46.51, 7.25)),
        ("Latitude 46, longitude 0", (46.0, 0.0)),
    ],
)
def test_understood(answer: str, place: tuple[float, float]) -> None:
    assert parse_answer(answer) == pytest.approx(place, abs=1e-12)


@pytest.mark.parametrize(
    "answer",
    [
        "",
        "I cannot tell.",
        "I have 2 ideas: 3, 4",
        '{"latitude": 0, "longitude": 0.0}',
        '{"latitude": -0.0, "longitude": 0}',
        '{"latitude": 90.5, "longitude": 7}',
        '{"latitude": 46, "longitude": -181}',
        '{"latitude": null, "longitude": null}',
        '{"latitude": NaN, "longitude": 3}',
        '{"latitude": 1e999, "longitude": 3}',
        '{"latitude": 46.17}',
        "latitude 46,17, longitude 7,10",
        "46,17 N, 7,10 E",
        "46.17.5 N, 7 E",
        "46°75'N 7°15'E",
    ],
)
def test_not_a_place(answer: str) -> None:
    assert parse_answer(answer) is None


@settings(deadline=None, max_examples=100)
@given(latitudes, longitudes)
def test_every_way_of_writing_a_place(latitude: float, longitude: float) -> None:
    expected = None if (latitude, longitude) == (0, 0) else (latitude, longitude)
    record = json.dumps({"latitude": latitude, "longitude": longitude})
    north, east = "S" if latitude < 0 else "N", "W" if longitude < 0 else "E"
    sides = f"{abs(latitude):f}° {north}, {abs(longitude):f}° {east}"
    named = f"Latitude: {latitude:f}; longitude: {longitude:f}"
    for answer in (
        record,
        f"Sure!\n```json\n{record}\n```\nGood luck",
        sides,
        named,
        f"({latitude:f}, {longitude:f})",
    ):
        assert parse_answer(answer) == expected, answer


@settings(deadline=None, max_examples=200)
@given(st.text() | st.text("latlonge:{}\"'0123456789.,-+NSEW° \n", max_size=60))
def test_any_text_gives_a_place_on_earth_or_none(text: str) -> None:
    place = parse_answer(text)
    assert place is None or (place != (0, 0) and abs(place[0]) <= 90 and abs(place[1]) <= 180)


def test_unusable_answers_are_dropped_and_counted() -> None:
    answers = ['{"latitude": 1, "longitude": 2}', "no", '{"latitude": 0, "longitude": 0}', "3.5 N, 4.5 E"]
    assert parse_answers(answers) == ([(1.0, 2.0), (3.5, 4.5)], 2)
