from tests.cases import random_cases
from utils.evaluation.cases import picked_errors
from utils.evaluation.rankers import ranker_picks
from utils.evaluation.report import build_report
from utils.evaluation.report_text import format_report


def test_text_shows_what_the_report_holds():
    cases = random_cases(40)
    picks = ranker_picks(cases, similarity_weight=0.5)
    report = build_report(cases, picks, prediction="model_consensus", gallery=[(0, 0)], training=[(0, 0)])
    lines = format_report(report).splitlines()
    assert lines[0].startswith("40 queries")
    for name, figures in report["rankers"].items():
        (line,) = (line for line in lines if line.split()[:1] == [name] and "[" in line and " - " not in line)
        assert ("*" in line) == (name == "model_consensus")
        assert f"{figures['accuracy']['200']:.1f}" in line
        assert f"{figures['median_km']:.1f}" in line
    assert max(map(len, lines)) <= 140
    errors = picked_errors(cases, picks["oracle"])
    assert (errors <= picked_errors(cases, picks["model"])).all()
