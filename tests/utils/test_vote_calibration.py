import json
from dataclasses import asdict, replace

import pytest

from tests.cases import random_cases
from utils import vote_calibration
from utils.calibration import Sources
from utils.decoding import WITHOUT_RANKER
from utils.evaluation.fit_calibration import fit_decoders
from utils.vote_calibration import VoteCalibration


@pytest.fixture(scope="module")
def fitted():
    return VoteCalibration(
        "invented queries", fit_decoders(random_cases(220, rewards=False), Sources(6, 2, 0.0, None), WITHOUT_RANKER)
    )


def test_what_is_saved_is_read(fitted, tmp_path):
    fitted.save(tmp_path / "votes.json")
    assert VoteCalibration.load(tmp_path / "votes.json") == fitted
    assert json.loads((tmp_path / "votes.json").read_text())["weights"]["consensus"] == asdict(
        WITHOUT_RANKER["consensus"]
    )
    assert (tmp_path / "votes.json").stat().st_size < 20_000


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda values: values.pop("weights"), "it has candidates, weights, sources, methods"),
        (lambda values: values.update(candidates=7), "candidates is 7: it must be words"),
        (lambda values: values.update(candidates=" "), "it must be words, on one line"),
        (lambda values: values.update(candidates="a\nb"), "it must be words, on one line"),
        (lambda values: values["weights"]["consensus"].update(scale_km=100.0), "votes of other weights"),
        (lambda values: values["methods"].update(model=values["methods"].pop("consensus")), "model: known votes are"),
        (lambda values: values["methods"]["consensus"].update(sizes=[1, 2, 3]), "sizes must be"),
        (lambda values: values["sources"].pop("topn"), "sources are topn"),
    ],
)
def test_another_file_is_named(fitted, tmp_path, spoil, message):
    path = tmp_path / "votes.json"
    fitted.save(path)
    values = json.loads(path.read_text())
    spoil(values)
    path.write_text(json.dumps(values))
    with pytest.raises(ValueError, match=message) as raised:
        VoteCalibration.load(path)
    assert str(raised.value).startswith(f"{path}: ")


def test_what_is_no_json_is_named(tmp_path):
    (tmp_path / "votes.json").write_text("[")
    with pytest.raises(ValueError, match=r"votes\.json: "):
        VoteCalibration.load(tmp_path / "votes.json")


def test_it_does_not_outlive_a_change_of_the_weights(fitted, tmp_path, monkeypatch):
    fitted.save(tmp_path / "votes.json")
    changed = WITHOUT_RANKER | {"consensus": replace(WITHOUT_RANKER["consensus"], guess_weight=3.0)}
    monkeypatch.setattr(vote_calibration, "WITHOUT_RANKER", changed)
    with pytest.raises(ValueError, match="votes of other weights"):
        VoteCalibration.load(tmp_path / "votes.json")
