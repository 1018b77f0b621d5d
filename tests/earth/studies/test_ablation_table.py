import json
from dataclasses import asdict, replace

import numpy as np
import pytest

from earth.studies import ablation_table
from earth.studies.ablation_results import append_result, paired_difference, read_results
from earth.studies.ablation_runs import BASELINE, SETTINGS, Setting
from earth.studies.ablation_table import comparison, table, verdict
from tests.earth.studies.results import drawn

WORSE = Setting("worse", "question", paper=(-1.0, -2.0))
SAME = Setting("same", "question")
MISSING = Setting("missing", "question", paper=(-1.0, -2.0))


def test_table():
    results = [drawn("baseline", seed, 1) for seed in range(3)] + [drawn("worse", seed, 3) for seed in range(2)]
    results += [replace(result, setting="same") for result in results[:3]]
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in table(results, [BASELINE, WORSE, SAME, MISSING]).splitlines()
    ]
    assert all(len(row) == 8 for row in rows)
    assert rows[0][2:6] == ["25 km", "200 km", "difference at 25 km", "difference at 200 km"]
    baseline, worse, same, missing = rows[2:]
    within = [100 * np.mean([error < 25 for error in result.errors_km]) for result in results[:3]]
    assert baseline[:3] == ["baseline", "3", f"{np.mean(within):.1f} ({min(within):.1f} to {max(within):.1f})"]
    assert baseline[4:] == ["", "", "", ""]
    difference, low, high = paired_difference(results[3:5], results[:3])
    assert worse[1] == "2"
    assert worse[5] == f"{difference[1]:+.1f} [{low[1]:+.1f}, {high[1]:+.1f}]"
    assert high[1] < 0
    assert worse[6:] == ["-1.00 / -2.00", "agrees / agrees"]
    assert same[4:] == ["+0.0 [+0.0, +0.0]", "+0.0 [+0.0, +0.0]", "", ""]
    with pytest.raises(ValueError, match="unknown settings: same, worse"):
        table(results, [BASELINE])
    assert missing == ["missing", "0", "not run", "not run", "", "", "-1.00 / -2.00", ""]


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [(-3, -1, "agrees"), (1, 3, "disagrees"), (-1, 1, "not significant"), (-1, 0, "not significant")],
)
def test_verdict(low, high, expected):
    assert verdict(-0.5, low, high) == expected
    assert verdict(0.5, -high, -low) == expected


def test_the_papers_differences_are_those_of_its_table():
    """Within 25 and 200 km on IM2GPS3K."""
    full = (45.05, 61.49)
    published = {
        "first_order_only": (44.61, 60.96),
        "no_negatives": (44.51, 60.82),
        "no_images": (41.77, 59.15),
        "no_generated": (43.47, 59.69),
    }
    assert {setting.name for setting in SETTINGS if setting.paper} == published.keys()
    for setting in SETTINGS:
        if setting.paper:
            assert setting.paper == pytest.approx(np.subtract(published[setting.name], full))


def test_results_on_disk(tmp_path, capsys, caplog):
    path = tmp_path / "new" / "results.jsonl"
    assert read_results(path) == []
    results = [drawn("baseline", seed, 1) for seed in range(2)]
    for result in results:
        append_result(path, result)
    assert read_results(path) == results
    assert ablation_table.main(["--results", str(path)]) == 0
    assert capsys.readouterr().out.strip() == table(results)

    lines = path.read_text()
    path.write_text(lines + "{damaged\n{torn")
    assert read_results(path) == results
    assert f"{path}: line 3 is no JSON object and is skipped" in caplog.text
    append_result(path, replace(results[0], seed=2))
    assert path.read_text().startswith(lines + '{damaged\n{"setting":"baseline","question":')
    assert [result.seed for result in read_results(path)] == [0, 1, 2]
    for text, message in (
        ("{torn\n{}", "line 4 is no result of the queue"),
        ('{"setting": "baseline"}', "line 3 is no result of the queue"),
        (json.dumps(asdict(results[0])), "several lines of baseline, seed 0"),
        (json.dumps(asdict(replace(results[0], seed=2, base="xyz"))), "base abc, .*, 250 steps and base xyz, "),
        (
            json.dumps(asdict(replace(results[0], seed=2, recipe="new"))),
            "recipe new, .* and base abc, recipe old",
        ),
    ):
        path.write_text(lines + text + "\n")
        with pytest.raises(ValueError, match=message):
            read_results(path)
        with pytest.raises(SystemExit, match=message):
            ablation_table.main(["--results", str(path)])


def test_comparison_of_two_base_models(tmp_path, capsys):
    small = [drawn("baseline", seed, 3) for seed in (2, 0)] + [drawn("no_images", 0, 1)]
    large = [replace(drawn("baseline", seed, 1), base="xyz") for seed in (0, 1, 2)]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in comparison(large, small).splitlines()]
    assert all(len(row) == 8 for row in rows)
    assert len(rows) == 3  # no_images has no partner
    own, other = [large[0], large[2]], [small[1], small[0]]
    within = [
        np.mean([np.mean([error < 25 for error in result.errors_km]) for result in side]) for side in (own, other)
    ]
    assert rows[2][:2] == ["baseline", "2"]
    assert [rows[2][column].split()[0] for column in (2, 4)] == [f"{100 * share:.1f}" for share in within]
    difference, low, high = paired_difference(own, other)
    assert rows[2][6] == f"{difference[0]:+.1f} [{low[0]:+.1f}, {high[0]:+.1f}]"
    assert low[1] > 0

    files = tmp_path / "large.jsonl", tmp_path / "small.jsonl"
    for path, results in zip(files, (large, small), strict=True):
        for result in results:
            append_result(path, result)
    command = ["--results", str(files[0]), "--against"]
    assert ablation_table.main([*command, str(files[1])]) == 0
    assert capsys.readouterr().out.strip() == comparison(large, small)
    (tmp_path / "empty.jsonl").touch()
    with pytest.raises(SystemExit, match="no setting with the same seed in common"):
        ablation_table.main([*command, str(tmp_path / "empty.jsonl")])
    with pytest.raises(SystemExit, match=r"missing\.jsonl does not exist \(or say with --against"):
        ablation_table.main([*command, str(tmp_path / "missing.jsonl")])
    with pytest.raises(ValueError, match="differ in more than the base model"):
        comparison([replace(large[0], budget=500)], small)
