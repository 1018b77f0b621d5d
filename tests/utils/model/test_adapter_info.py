import json
from dataclasses import replace

import pytest

from utils.model.adapter_info import AdapterInfo, adapter_info, recorded_base

INFO = AdapterInfo("base", "negatives_first", 128, 512, group_size=7, temperature=0.5, similarity_weight=2.0)


def test_info_round_trip(tmp_path):
    INFO.save(tmp_path / "new")
    assert AdapterInfo.load(tmp_path / "new") == INFO
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["georanker.json"]
    omitting = replace(INFO, omit=("texts", "negatives"))
    omitting.save(tmp_path / "new")
    assert AdapterInfo.load(tmp_path / "new") == omitting
    (tmp_path / "new" / "georanker.json").write_text('{"base_model": "x"}')  # as written before there was `omit`
    assert AdapterInfo.load(tmp_path / "new").omit == ()
    assert AdapterInfo.load(tmp_path / "new").candidate_jpeg_quality is None
    assert AdapterInfo.load(tmp_path / "new").candidate_max_pixels is None
    limited = replace(INFO, candidate_max_pixels=512)
    limited.save(tmp_path / "new")
    assert AdapterInfo.load(tmp_path / "new") == limited


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"base_model": "x", "layout": "sideways"}', "layout is 'sideways'"),
        ('{"base_model": "x", "temperature": 0}', "temperature is 0"),
        ('{"base_model": "x", "temperature": "hot"}', "temperature cannot be 'hot'"),
        ('{"base_model": "x", "temperature": Infinity}', "temperature is inf"),
        ('{"base_model": "x", "similarity_weight": NaN}', "similarity_weight is nan"),
        ('{"base_model": "x", "min_pixels": "12"}', "min_pixels cannot be '12'"),
        ('{"base_model": "x", "group_size": true}', "group_size cannot be True"),
        ('{"base_model": "x", "candidate_jpeg_quality": 0}', "candidate_jpeg_quality is 0: it lies between 1 and 100"),
        ('{"base_model": "x", "candidate_jpeg_quality": true}', "candidate_jpeg_quality cannot be True"),
        ('{"base_model": null}', "base_model cannot be None"),
        ('{"base_model": ""}', "base_model is empty"),
        ('{"base_model": ["x"]}', r"base_model cannot be \['x'\]"),
        ('{"base_model": "x", "base_model": "y"}', "base_model given twice"),
        ('{"base_model": "x", "layout": ["published"]}', r"layout is \['published'\]"),
        ('{"base_model": "x", "layout": null}', "layout is None"),
        ('{"base_model": "x", "temperature": -1}', "temperature is -1"),
        ('{"base_model": "x", "temperature": 1e-320}', "temperature is 1e-320"),
        (f'{{"base_model": "x", "temperature": {10**400}}}', "temperature is 1000"),
        ('{"base_model": "x", "temperature": null}', "temperature cannot be None"),
        ('{"base_model": "x", "temperature": [1]}', r"temperature cannot be \[1\]"),
        ('{"base_model": "x", "similarity_weight": -0.5}', "similarity_weight is -0.5"),
        ('{"base_model": "x", "similarity_weight": 1e300}', r"similarity_weight is 1e\+300"),
        ('{"base_model": "x", "min_pixels": 5, "max_pixels": 4}', r"min_pixels is 5, more than max_pixels \(4\)"),
        ('{"base_model": "x", "min_pixels": 0}', "min_pixels is 0"),
        ('{"base_model": "x", "min_pixels": -4}', "min_pixels is -4"),
        ('{"base_model": "x", "min_pixels": 1e3}', "min_pixels cannot be 1000.0"),
        ('{"base_model": "x", "min_pixels": 1000000000000}', "min_pixels is 1000000000000"),
        ('{"base_model": "x", "max_pixels": 0}', "max_pixels is 0"),
        ('{"base_model": "x", "max_pixels": -1}', "max_pixels is -1"),
        ('{"base_model": "x", "candidate_max_pixels": 0}', "candidate_max_pixels is 0: it must be positive"),
        ('{"base_model": "x", "max_pixels": 4, "candidate_max_pixels": 5}', "5, more than max_pixels .4."),
        ('{"base_model": "x", "group_size": 0}', "group_size is 0"),
        ('{"base_model": "x", "group_size": -5}', "group_size is -5"),
        ('{"base_model": "x", "group_size": 7.5}', "group_size cannot be 7.5"),
        ('{"base_model": "x", "candidate_jpeg_quality": 101}', "candidate_jpeg_quality is 101"),
        ('{"base_model": "x", "omit": "texts"}', "omit cannot be 'texts'"),
        ('{"base_model": "x", "omit": {"texts": 1}}', "omit cannot be {'texts': 1}"),
        ('{"base_model": "x", "omit": null}', "omit cannot be None"),
        ('{"base_model": "x", "omit": [["texts"]]}', r"omit is \[\['texts'\]\]"),
        ('{"base_model": "x", "domain": 1}', "domain cannot be 1"),
        ('{"base_model": "x", "calibration": 1}', "calibration: it has sources, methods and counts"),
        ('{"base_model": "x", "calibration": {}}', "calibration: it has sources, methods and counts"),
        ('{"base_model": "x", "calibration": ' + "[" * 100_000, "recursion|nested"),
        ("[" * 100_000, "recursion|nested"),
        ("null", "no JSON object"),
        ("7", "no JSON object"),
        ("", "Expecting value"),
        ("[]", "no JSON object"),
        ('{"base_model": "x", "omit": ["sky"]}', r"omit is \['sky'\]"),
        ('{"base_model": "x", "omit": ["texts", "texts"]}', r"omit is \['texts', 'texts'\]"),
        ('{"base_model": "x", "omit": 1}', "omit cannot be 1"),
        ('{"base_model": "x", "colour": 1, "age": 2}', "unknown settings age, colour"),
        ("{}", "base_model is missing"),
        ("{", "Expecting property name"),
    ],
)
def test_bad_info_names_file_and_setting(tmp_path, text, message):
    (tmp_path / "georanker.json").write_text(text)
    with pytest.raises(ValueError, match=f"georanker.json: .*({message})"):
        AdapterInfo.load(tmp_path)


def test_a_released_adapter_is_shown_what_the_original_shows(tmp_path):
    assert adapter_info(tmp_path, "base") == AdapterInfo("base", "published", candidate_jpeg_quality=75)
    INFO.save(tmp_path)
    assert adapter_info(tmp_path, "another") == INFO


def test_the_base_that_an_adapter_names(tmp_path):
    replace(INFO, base_model="some/base").save(tmp_path / "trained")
    assert recorded_base(tmp_path / "trained") == "some/base"
    assert recorded_base(tmp_path) is recorded_base(None) is None


FITTED = {"odds": [[0.0] * 16] * 5, "scale": [0.0] * 16, "sizes": [1, 2, 3, 4], "queries": 100}
SOURCES = {"topn": 12, "topn_zs": 3, "merge_km": 0, "gallery": None}


@pytest.mark.parametrize(
    ("fitted", "sources", "message"),
    [
        ({"odds": [[0.0] * 15] * 5}, {}, "argmax: odds must be"),
        ({"odds": [[float("nan")] * 16] * 5}, {}, "argmax: odds must be"),
        ({"odds": [["0"] * 16] * 5}, {}, "argmax: odds must be"),
        ({"odds": [[True] * 16] * 5}, {}, "argmax: odds must be"),
        ({"odds": [[10**400] * 16] * 5}, {}, "argmax: odds must be"),
        ({"odds": json.loads("[" * 200 + "]" * 200)}, {}, "argmax: odds must be"),
        ({"scale": None}, {}, "argmax: scale must be"),
        ({"scale": {"a": 1}}, {}, "argmax: scale must be"),
        ({"sizes": [1, 2, 3, -4]}, {}, "argmax: sizes are"),
        ({"sizes": [4, 3, 2, 1]}, {}, "argmax: sizes are"),
        ({"queries": 0}, {}, "argmax: queries is 0"),
        ({"queries": True}, {}, "argmax: queries cannot be True"),
        ({"queries": "100"}, {}, "argmax: queries cannot be '100'"),
        ({}, {"topn": "12"}, "topn cannot be '12'"),
        ({}, {"topn": -1}, "topn is -1"),
        ({}, {"topn_zs": 1.5}, "topn_zs cannot be 1.5"),
        ({}, {"merge_km": float("nan")}, "merge_km is nan"),
        ({}, {"merge_km": 10**400}, "merge_km is 1000"),
        ({}, {"gallery": 7}, "gallery cannot be 7"),
    ],
)
def test_a_damaged_calibration_is_named(tmp_path, fitted, sources, message):
    def load(fitted, sources, method="argmax"):
        values = {"base_model": "x", "calibration": {"sources": sources, "methods": {method: fitted}}}
        (tmp_path / "georanker.json").write_text(json.dumps(values))
        return AdapterInfo.load(tmp_path)

    assert load(FITTED, SOURCES).calibration.methods["argmax"].queries == 100
    with pytest.raises(ValueError, match=rf"georanker\.json: calibration: {message}"):
        load(FITTED | fitted, SOURCES | sources)
    with pytest.raises(ValueError, match=r"georanker\.json: calibration: argmx: known methods are argmax"):
        load(FITTED, SOURCES, "argmx")
