from dataclasses import replace

import pytest

from tests.cases import random_cases
from utils.calibration import Sources
from utils.decider import Decider
from utils.decoding import METHODS, WITHOUT_RANKER
from utils.evaluation.fit_calibration import fit_decoders, fit_methods
from utils.model.adapter_info import AdapterInfo
from utils.vote_calibration import VoteCalibration

SOURCES = Sources(6, 2, 0.0, "gallery")


@pytest.mark.parametrize("method", METHODS)
def test_of_an_adapter(method):
    fitted = {"temperature": 0.5, "similarity_weight": 2.0}
    calibrations = fit_methods(random_cases(220), SOURCES, **fitted)
    decider = Decider.of_adapter(AdapterInfo("base", **fitted, calibration=calibrations), method)
    assert decider.ranker == METHODS[method].ranker
    assert decider.decoder == METHODS[method].decoder(**fitted)
    assert decider.calibration(SOURCES) == calibrations.methods[method]
    for other, said in (
        (Sources(7, 2, 0.0, "gallery"), "other candidates: 6 similar photos, not 7"),
        (Sources(6, 0, 0.0, None), "other candidates: 2 guesses, not none; another gallery"),
        (Sources(6, 2, 5.0, None), "other candidates: candidates merged within 0 km, not 5; another gallery"),
    ):
        assert decider.calibration(other) is None
        assert said in decider.why_unknown(other, (6, 2))
    assert decider.calibration(None) is None
    assert decider.knows((6, 2))
    assert decider.may_know(SOURCES)
    assert not decider.may_know(Sources(7, 2, 0.0, "gallery"))
    nobody_counted = replace(calibrations, counts=())
    assert not Decider.of_adapter(AdapterInfo("base", calibration=nobody_counted), method).may_know(SOURCES)
    assert not decider.knows((12, 2))
    quantised = Decider.of_adapter(AdapterInfo("base", **fitted, calibration=calibrations), method, quantized=True)
    assert quantised.calibration(SOURCES) is None
    assert "rewards of weights that are not quantised" in quantised.why_unknown(SOURCES, (6, 2))
    assert decider.why_unknown(SOURCES, (12, 2)).endswith("not calibrated on 12 similar photos with 2 guesses")
    assert decider.why_unknown(SOURCES, (1, 1)).endswith("not calibrated on 1 similar photo with 1 guess")
    assert decider.why_unknown(SOURCES, (6, 0)).endswith("not calibrated on 6 similar photos with no guesses")
    assert decider.why_unknown(None, (6, 2)).endswith("calibrated on candidates from elsewhere")


def test_of_an_adapter_that_nobody_calibrated():
    decider = Decider.of_adapter(AdapterInfo("base"), "argmax")
    assert decider.calibration(SOURCES) is None
    assert decider.why_unknown(SOURCES, (6, 2)) == "deciding by the highest reward (argmax) was not calibrated"


@pytest.mark.parametrize("name", WITHOUT_RANKER)
def test_of_a_vote(name, tmp_path):
    calibrations = fit_decoders(random_cases(220, rewards=False), SOURCES, WITHOUT_RANKER)
    VoteCalibration("invented", calibrations).save(tmp_path / "votes.json")
    decider = Decider.of_vote(name, tmp_path / "votes.json")
    assert (decider.ranker, decider.decoder) == (name, WITHOUT_RANKER[name])
    assert decider.calibration(SOURCES) == calibrations.methods[name]
    assert Decider.of_vote(name).calibration(SOURCES) is None


def test_a_vote_that_the_file_lacks(tmp_path):
    one = {"consensus": WITHOUT_RANKER["consensus"]}
    VoteCalibration("invented", fit_decoders(random_cases(220, rewards=False), SOURCES, one)).save(tmp_path / "v.json")
    decider = Decider.of_vote("consensus_equal", tmp_path / "v.json")
    assert decider.calibration(SOURCES) is None
    assert (
        decider.why_unknown(SOURCES, (6, 2))
        == "a vote of the candidates, all of equal weight (consensus_equal) was not calibrated"
    )
