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
    with pytest.raises(ValueError, match=f"georanker.json: {message}"):
        AdapterInfo.load(tmp_path)


def test_a_released_adapter_is_shown_what_the_original_shows(tmp_path):
    assert adapter_info(tmp_path, "base") == AdapterInfo("base", "published", candidate_jpeg_quality=75)
    INFO.save(tmp_path)
    assert adapter_info(tmp_path, "another") == INFO


def test_the_base_that_an_adapter_names(tmp_path):
    replace(INFO, base_model="some/base").save(tmp_path / "trained")
    assert recorded_base(tmp_path / "trained") == "some/base"
    assert recorded_base(tmp_path) is recorded_base(None) is None
