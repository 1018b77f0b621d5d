import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from utils.geography.answers import parse_answer, parse_answers

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
        ("S 46.5, W 7.1", (-46.5, -7.1)),
        ("W7.1 S46.5", (-46.5, -7.1)),
        ("Latitude: South 46.5, Longitude: West 7.1", (-46.5, -7.1)),
        ("46.5° S latitude and 7.1° W longitude", (-46.5, -7.1)),
        ("46.5° latitude, 7.1° longitude. 3 people", (46.5, 7.1)),
        ("latitude 46.5, South Africa, longitude 7.1, East London", (46.5, 7.1)),
        ("46º30\u203236\u2033 S 7\u02da15\u2019 W", (-46.51, -7.25)),
        ('{"latitude": "46\\u00b030\'36\\"N", "longitude": "7\\u00b015\'0\\"W"}', (46.51, -7.25)),
        ("46 degrees, 30 minutes, 36 seconds north; 7 degrees 15 min west", (46.51, -7.25)),
        ('{"Latitude": 46.1, "sure": 0.8, "place": "in Switzerland", "LONGITUDE": 7.1}', (46.1, 7.1)),
        ("latitude 1.5. No: latitude 2.5, longitude 3.5", (2.5, 3.5)),
        ('{"coordinates": [46.5, 7.1]}', (46.5, 7.1)),
        ("[46, 7]", (46.0, 7.0)),
        ("46.5 -7", (46.5, -7.0)),
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
        "46.5°30'N 7°15'E",
        "0°N 0°E",
        "91 N, 7 E",
        "46, 17, 7, 10",
        '{"latitude": 2 taken.4,"longitude": 98.8}',
        '{"latitude": 3, 9.8,"longitude": -19.1}',
        '{"latitude": 42.6,"longitude": -longitude": -longitude": latitude3.32}',
    ],
)
def test_not_a_place(answer: str) -> None:
    assert parse_answer(answer) is None


def sexagesimal(degrees: float, letters: str) -> tuple[str, str]:
    """The angle to a tenth of a second, with plain and with typographic signs."""
    tenths = round(abs(degrees) * 36_000)
    whole, minutes, seconds = tenths // 36_000, tenths // 600 % 60, tenths % 600 / 10
    side = letters[degrees < 0]
    return f"{whole}°{minutes}'{seconds}\"{side}", f"{side} {whole}º {minutes:02}\u2032 {seconds:04.1f}\u2033"


@settings(deadline=None, max_examples=100)
@given(latitudes, longitudes)
def test_every_way_of_writing_a_place(latitude: float, longitude: float) -> None:
    record = json.dumps({"latitude": latitude, "longitude": longitude})
    north, east = "S" if latitude < 0 else "N", "W" if longitude < 0 else "E"
    (plain_lat, fine_lat), (plain_lon, fine_lon) = sexagesimal(latitude, "NS"), sexagesimal(longitude, "EW")
    exact = (
        record,
        f"Sure!\n```json\n{record}\n```\nGood luck",
        json.dumps({"answer": {"LNG": str(longitude), "Lat": str(latitude)}}),
        json.dumps({"lat": [latitude], "lon": [longitude]}),
        f"{abs(latitude):f}° {north}, {abs(longitude):f}° {east}",
        f"I guess {east} {abs(longitude):f} {north} {abs(latitude):f}",
        f"Latitude: {latitude:f}; longitude: {longitude:f}",
        f"latitude {abs(latitude):f} {north}, longitude {abs(longitude):f} {east}",
        f"({latitude:f}, {longitude:f})",
        f"{latitude!r}, {longitude!r}" if abs(latitude) > 1e-3 < abs(longitude) else record,
    )
    rounded = (
        f"{plain_lat} {plain_lon}",
        f"{plain_lon}, {plain_lat}",
        f"{fine_lat}, {fine_lon}",
        json.dumps({"latitude": plain_lat, "longitude": plain_lon}),
        json.dumps({"latitude": fine_lat, "longitude": fine_lon}, ensure_ascii=False),
    )
    for answers, tolerance in ((exact, 0), (rounded, 0.051 / 3600)):
        for answer in answers:
            place = parse_answer(answer)
            if place is None:  # said not to know
                assert abs(latitude) <= tolerance
                assert abs(longitude) <= tolerance
            else:
                assert place == pytest.approx((latitude, longitude), rel=0, abs=tolerance), answer


@settings(deadline=None, max_examples=200)
@given(st.text() | st.text("latlonge:{}\"'0123456789.,-+NSEW° \n", max_size=60))
def test_any_text_gives_a_place_on_earth_or_none(text: str) -> None:
    place = parse_answer(text)
    assert place is None or (place != (0, 0) and abs(place[0]) <= 90 and abs(place[1]) <= 180)


def test_unusable_answers_are_dropped_and_counted() -> None:
    answers = ['{"latitude": 1, "longitude": 2}', "no", '{"latitude": 0, "longitude": 0}', "3.5 N, 4.5 E"]
    assert parse_answers(answers) == ([(1.0, 2.0), (3.5, 4.5)], 2)
