import json

import numpy as np
from PIL import Image

from earth.studies import plots
from earth.studies.ablation_results import append_result
from earth.studies.charts import PLOTS
from tests.earth.studies.results import ablation_results, confidence_result, scaling_result


def test_pictures_are_small_pngs(tmp_path):
    for result in ablation_results():
        append_result(tmp_path / "ablations.jsonl", result)
    (tmp_path / "confidence.json").write_text(json.dumps(confidence_result()))
    (tmp_path / "scaling.json").write_text(json.dumps(scaling_result()))
    assert plots.main(["--results", str(tmp_path), "--images", str(tmp_path / "images")]) == 0
    assert {path.name for path in (tmp_path / "images").iterdir()} == {name for *_, name in PLOTS}
    for path in (tmp_path / "images").iterdir():
        assert path.stat().st_size < 60_000
        with Image.open(path) as picture:
            assert picture.format == "PNG"
            assert picture.width > 500
            assert len(np.unique(np.asarray(picture.convert("RGB")).reshape(-1, 3), axis=0)) > 5


def test_missing_figures_are_named_and_cost_only_their_plots(tmp_path, capsys):
    (tmp_path / "scaling.json").write_text(json.dumps(scaling_result()))
    assert plots.main(["--results", str(tmp_path), "--images", str(tmp_path)]) == 1
    assert (tmp_path / "earth_scaling.png").exists()
    problems = capsys.readouterr().err.splitlines()
    assert len(problems) == 3
    assert "confidence.json does not exist: no earth_reliability.png" in problems[0]
