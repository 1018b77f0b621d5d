import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from utils.geography import answers as reader
from utils.geography.answer_text import LOOKED_AT, plain
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
        '{"latitude": 1e999, "longitude": 3} or rather {"latitude": 46.17, "longitude": 7.1}',
        '{"latitude": 46.17, "longitude": 7.1} {"latitude": Infinity, "longitude": NaN}',
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


SOUTH_WEST = (-12.0464, -77.0428)


@pytest.mark.parametrize("dash", "-\u2010\u2011\u2012\u2013\u2014\u2212\u207b\u2796\ufe63\uff0d", ids=ascii)
@pytest.mark.parametrize(
    "form",
    [
        "Latitude: {}12.0464, longitude: {}77.0428",
        '{{"latitude": {}12.0464, "longitude": {}77.0428}}',
        '{{"latitude": "{}12.0464", "longitude": "{}77.0428"}}',
        "Lima ({}12.0464, {}77.0428)",
    ],
)
def test_whatever_looks_like_a_minus_is_one(dash: str, form: str) -> None:
    assert parse_answer(form.format(dash, dash)) == SOUTH_WEST


@pytest.mark.parametrize(
    ("south", "west"),
    [
        ("(S)", "(W)"),
        (", South", ", West"),
        ("[south]", "[west]"),
        ("southern", "western"),
        ("&deg; S", "&#176; W"),
        ("<sup>o</sup>S", "<sup>o</sup>W"),
        (r"^\circ S", r"^{\circ}\text{ W}"),
        (" degrees to the south", " degrees to the west"),
        (" deg. S", " deg. W"),
        (" - S", " - W"),
        ("° south of the equator", "° west of Greenwich"),
        (" sur", " oeste"),
    ],
)
@pytest.mark.parametrize(
    "form",
    [
        "latitude {}, longitude {}",
        "The latitude is about {} and the longitude is about {}.",
        "{} / {}",
        "**Latitude:** {}\n**Longitude:** {}\n",
        '{{"lat": "{}", "lon": "{}"}}',
    ],
)
def test_sides_count_however_they_stand_behind_the_numbers(form: str, south: str, west: str) -> None:
    assert parse_answer(form.format(f"12.0464{south}", f"77.0428{west}")) == SOUTH_WEST


@pytest.mark.parametrize(
    "members",
    [
        {"latitude": 12.0464, "latitude_direction": "S", "longitude": 77.0428, "longitude_direction": "W"},
        {"lat": 12.0464, "latRef": "south", "lng": 77.0428, "lngRef": "west"},
        {"lat": 12.0464, "lon": 77.0428, "N/S": "S", "E/W": "W"},
        {"latitude": {"degrees": 12.0464, "direction": "S"}, "longitude": {"degrees": 77.0428, "direction": "W"}},
        {"latitude": {"deg": 12, "min": 2, "sec": 47.04, "dir": "S"}, "longitude": [77.0428, "W"]},
        {"latitude_south": 12.0464, "Longitude (W)": "77.0428"},
        {"answer": {"latitude": "12.0464 south latitude", "longitude": "about 77.0428° W"}},
    ],
)
def test_sides_in_other_members(members: dict) -> None:
    assert parse_answer(json.dumps(members)) == pytest.approx(SOUTH_WEST, abs=1e-9)


@pytest.mark.parametrize(
    "side",
    [
        "S",
        "(south)",
        "Southern Hemisphere",
        "SW",
        "direction: S",
        "hemisphere is southern",
        "südlich",
        "below the equator",
    ],
)
@pytest.mark.parametrize(
    "form",
    [
        "Latitude: 12.0464, longitude: -77.0428 ({})",
        "{}: latitude 12.0464, longitude -77.0428",
        "Latitude: 12.0464\nLongitude: -77.0428\n{}",
        "(12.0464, -77.0428), {}",
        '{{"lat": 12.0464, "lon": -77.0428, "note": "{}"}}',
        '{{"{}": {{"lat": 12.0464, "lon": -77.0428}}}}',
        '{{"lat": 12.0464, "lon": -77.0428}} {}',
        "{{'lat': 12.0464, 'lon': -77.0428, 'side': '{}'}}",
    ],
)
def test_a_side_that_may_be_meant_leaves_no_other_hemisphere(form: str, side: str) -> None:
    assert parse_answer(form.format(side)) in (None, SOUTH_WEST)


@pytest.mark.parametrize(
    ("answer", "place"),
    [
        ('{"type": "Point", "coordinates": [18.4233, -33.9189]}', (-33.9189, 18.4233)),
        ("{'geometry': {'coordinates': [18.4233, -33.9189]}}", (-33.9189, 18.4233)),
        ("POINT(18.4233 -33.9189)", (-33.9189, 18.4233)),
        ("Point(18.4233, -33.9189)", None),  # shapely's or that of a text
        ("<coordinates>18.4233,-33.9189</coordinates>", (-33.9189, 18.4233)),
        ("lon/lat: 18.4233, -33.9189", (-33.9189, 18.4233)),
        ("18.4233, -33.9189 (longitude, latitude)", (-33.9189, 18.4233)),
        ("| Longitude | Latitude |\n|---|---|\n| 18.4233 | -33.9189 |", (-33.9189, 18.4233)),
        ("| Latitude | Longitude |\n|---|---|\n| -33.9189 | 18.4233 |", (-33.9189, 18.4233)),
        ('{"format": "lon, lat", "coordinates": [18.4233, -33.9189]}', (-33.9189, 18.4233)),
        ("longitude first: 18.4233, -33.9189", None),
        ("18.4233 E, 33.9189 S", (-33.9189, 18.4233)),
        ("-33.9189 S, 18.4233 E", (-33.9189, 18.4233)),
        ("-33.9189 N, 18.4233 E", None),
        ("latitude 33.9189 (N/S?), longitude 18.4233", None),
        ("The town, in the south of France: latitude 43.3, longitude 5.4", (43.3, 5.4)),
        ("Latitude: 43.3\nLongitude: 5.4\nIt is the western part of the southern coast.", (43.3, 5.4)),
        ('{"latitude": 46.1, "latitude": 47.2, "longitude": 7.1}', None),
        ('{"latitude_degrees": 46, "latitude_minutes": 30, "longitude_degrees": 7, "longitude_minutes": 15}', None),
        ('{"draft": {"lat": 48.85, "lon": 2.35}, "final": {"lat": 38.72, "lon": -9.14}}', None),
        ('{"guesses": [{"lat": 48.85, "lon": 2.35}, {"lat": 38.72, "lon": -9.14}]}', (48.85, 2.35)),
        (
            '{"lat": 33.92, "lon": 18.42, "note": "in the far south, the first of both numbers is negative"}',
            None,
        ),
        ("latitude 33.92 sul, longitude 18.42 leste", (-33.92, 18.42)),
        ("33.92 zuid, 18.42 oosterlengte", (-33.92, 18.42)),
        ("latitude 33.92 güney, longitude 70.67 bat\u0131", (-33.92, -70.67)),
        ("szerokość 33.92 południe, 18.42", None),
        ("latitude 33.92 جنوبا, longitude 18.42", None),
        ("The elevation lies at 35.125, 36.125", None),
        ("angles 12.345, 23.456", None),
        ("I am model-3.1, 4.5 at best", None),
        ("It is rated 7.5, 8.5 by most", None),
        ("confidence (0.35, 0.85)", None),
        ("1.5, 2.5, 3.5", None),
        ("46-47 N, 7-8 E", None),
        ("between 46 and 47 N, between 7 and 8 E", None),
        ("46.17° ± 0.5° N, 7.1° E", None),
        ("Highway 1 S, Route 9 W", None),
        ('{"latitude": 46.17, "longitude": 12abel{"latitude": 40.1}', None),
        ('{"latitude": 46. this, "longitude": 12.5}', None),
        ('{"latitude05.4,"longitude": -29.6}', None),
        ('{"latitude": 46.1723, "longitude": -1', None),
        ("Latitude: 46.1723, Longitude: -1", None),
    ],
)
def test_the_place_or_none(answer: str, place: tuple[float, float] | None) -> None:
    assert parse_answer(answer) == place


THOUGHT = 'Paris? {"latitude": 48.8566, "longitude": 2.3522}, 48.8566 N, 2.3522 E, 48.8566, 2.3522'


@pytest.mark.parametrize(
    ("opening", "closing"),
    [
        ("<think>", "</think>"),
        ("<THINKING>", "</THINKING>"),
        ("&lt;thought&gt;", "&lt;/thought&gt;"),
        ("<reasoning effort='low'>", "</reasoning>"),
        ("<seed:think>", "</seed:think>"),
        ("[THINK]", "[/THINK]"),
        ("◁think▷", "◁/think▷"),
        ("<|begin_of_thought|>", "<|end_of_thought|>"),
        ("<|channel|>analysis<|message|>", "<|end|><|start|>assistant<|channel|>final<|message|>"),
        ("<inner_monologue>", "</inner_monologue>"),
    ],
)
@pytest.mark.parametrize("answer", ['{"latitude": 38.72, "longitude": -9.14}', "38.72 N, 9.14 W", "(38.72, -9.14)"])
def test_thinking_is_not_the_answer(opening: str, closing: str, answer: str) -> None:
    assert parse_answer(f"{opening}{THOUGHT}{closing}\n{answer}") == (38.72, -9.14)
    assert parse_answer(f"{THOUGHT}{closing}\n{answer}") == (38.72, -9.14)  # it began in the prompt
    assert parse_answer(f"{answer}\n{opening}{THOUGHT}{closing}") == (38.72, -9.14)
    assert parse_answer(f"{opening}{THOUGHT}") is None
    assert parse_answer(f"{opening}{THOUGHT}{closing}") is None
    assert parse_answer(f"{opening}{opening}{THOUGHT}{closing}{THOUGHT}") is None


def test_thinking_in_json_is_not_the_answer() -> None:
    assert parse_answer('{"reasoning": "48.8566 N, 2.3522 E", "answer": "38.72 N, 9.14 W"}') == (38.72, -9.14)
    assert parse_answer('{"reasoning": "48.8566 N, 2.3522 E, or') is None


def forms(latitude: float, longitude: float) -> list[str]:
    """Ways of writing a place, each exact to 0.05" or 1e-6°."""
    north, east = "S" if latitude < 0 else "N", "W" if longitude < 0 else "E"
    word = {"N": "north", "S": "south", "E": "east", "W": "west"}
    size, width = f"{abs(latitude):.6f}", f"{abs(longitude):.6f}"
    signed, across = f"{latitude:.6f}".replace("-", "\u2212"), f"{longitude:.6f}".replace("-", "\u2013")
    (plain_lat, fine_lat), (plain_lon, fine_lon) = sexagesimal(latitude, "NS"), sexagesimal(longitude, "EW")
    record = json.dumps({"longitude": longitude, "latitude": latitude})
    return [
        record,
        str({"latitude": latitude, "longitude": longitude}),
        json.dumps({"lat": float(size), "lat_dir": north, "lon": float(width), "lon_dir": east}),
        json.dumps({"lat": {"value": float(size), "side": north}, "lon": {"value": float(width), "side": east}}),
        json.dumps({"type": "Point", "coordinates": [float(f"{longitude:.6f}"), float(f"{latitude:.6f}")]}),
        f"<think>{THOUGHT}</think>{record}",
        f"Latitude: {signed}, Longitude: {across}",
        f"latitude {size} {word[north]}ern, longitude {width} {word[east]}ern",
        f"**Lat:** {size} ({north}) **Long:** {width} ({east})",
        rf"Latitude: ${size}^\circ$ {north}, longitude: ${width}^\circ$ {east}",
        f"{word[east]} {width}, {word[north]} {size}",
        f"{size} degrees to the {word[north]} and {width} degrees to the {word[east]}",
        f"Somewhere ({signed}, {across}), I think",
        f"(longitude, latitude) = ({across}, {signed})",
        f"POINT({across} {signed})",
        f"{plain_lat} {plain_lon}",
        f"{fine_lon}, {fine_lat}",
    ]


def same(place: tuple[float, float] | None, expected: tuple[float, float]) -> bool:
    return place is None or place == pytest.approx(expected, rel=0, abs=2e-5)


@settings(deadline=None, max_examples=60)
@given(latitudes, longitudes)
def test_no_form_gives_another_place(latitude: float, longitude: float) -> None:
    for answer in forms(latitude, longitude):
        assert same(parse_answer(answer), (latitude, longitude)), answer


def test_every_form_is_understood() -> None:
    for place in ((12.3456, 65.4321), (-12.3456, 65.4321), (12.3456, -165.4321), (-12.3456, -165.4321)):
        for answer in forms(*place):
            assert parse_answer(answer) == pytest.approx(place, rel=0, abs=2e-5), answer


@settings(deadline=None, max_examples=40)
@given(latitudes, longitudes, st.data())
def test_an_answer_that_was_cut_off_gives_no_other_place(
    latitude: float, longitude: float, data: st.DataObject
) -> None:
    answer = data.draw(st.sampled_from(forms(latitude, longitude)))
    for length in range(len(answer)):
        assert same(parse_answer(answer[:length], cut=True), (latitude, longitude)), answer[:length]


@pytest.mark.parametrize(
    ("answer", "place"),
    [
        ('{"latitude": 46.17, "longitude": 7.1', None),
        ('{"latitude": 46.17, "longitude": 7.1,', (46.17, 7.1)),
        ('{"latitude": 46.17, "longitude": 7.1}', (46.17, 7.1)),
        ('{"latitude": 46.17, "longitude": 7.1, "sure', (46.17, 7.1)),
        ('{"latitude": 46.17, "longitude": 7.1, "longitude_di', None),
        ('{"lat": 46.17, "lat_dir": "N", "lon": 7.1, "', None),
        ("46.17 N, 7.1", None),
        ("46.17 N, 7.1 E", None),
        ("46.17 N, 7.1 E.\nThe hou", (46.17, 7.1)),
        ("Latitude 46.17, longitude 7.1 we", None),
        ("Latitude 46.17, longitude -7.1 in Portu", (46.17, -7.1)),
        ("(46.17, 7.1", None),
        ("(46.17, 7.15) as", (46.17, 7.15)),
    ],
)
def test_a_place_at_the_cut_end_is_dropped(answer: str, place: tuple[float, float] | None) -> None:
    assert parse_answer(answer, cut=True) == place


def test_which_answers_were_cut_is_told_of_each() -> None:
    answers = ["46.17 N, 7.1 E"] * 3
    assert parse_answers(answers, [True, False, True]) == ([(46.17, 7.1)], 2)
    with pytest.raises(ValueError, match="shorter"):
        parse_answers(answers, [True])


HOSTILE = [
    "latitude ",
    "1.5, ",
    "{",
    "[",
    '{"a":[',
    "<think></think>",
    "7",
    '"',
    " ",
    "N 5 ",
    "lat lon ",
    "&#9",
    "`",
    "</",
]


@pytest.mark.parametrize("unit", HOSTILE, ids=repr)
def test_what_is_looked_at_is_bounded(unit: str, monkeypatch: pytest.MonkeyPatch) -> None:
    read = []

    def recorded(text: str) -> str:
        read.append(len(text))
        return plain(text)

    monkeypatch.setattr(reader, "plain", recorded)
    assert parse_answer(unit * (4 * LOOKED_AT // len(unit))) is None
    assert len(read) == 1
    assert read[0] <= LOOKED_AT


def test_a_place_that_the_bound_cuts_is_none() -> None:
    place = '{"latitude": 46.1723, "longitude": 7.1234}'
    assert parse_answer(place + " and so on" * LOOKED_AT) == (46.1723, 7.1234)
    for inside in range(len(place)):
        assert parse_answer("o" * (LOOKED_AT - inside - 1) + " " + place) is None
    assert parse_answer("<think>" + "so " * LOOKED_AT + "</think>" + place) == (46.1723, 7.1234)


def test_unusable_answers_are_dropped_and_counted() -> None:
    answers = ['{"latitude": 1, "longitude": 2}', "no", '{"latitude": 0, "longitude": 0}', "3.5 N, 4.5 E"]
    assert parse_answers(answers) == ([(1.0, 2.0), (3.5, 4.5)], 2)
