from dataclasses import replace

from PIL import Image

from earth.recipe import BASE
from earth.studies import candidate_pixels
from earth.studies.ablation_results import append_result
from earth.studies.candidate_pixels import SETTINGS
from tests.earth.studies.results import drawn
from utils.model.packing import Packer
from utils.model.preprocessing import load_image_processor


def test_settings_are_called_after_the_tokens_of_a_tile():
    packer = Packer.__new__(Packer)  # of which sizes need the image processor alone
    packer.image_processor = load_image_processor(BASE)
    for setting in SETTINGS:
        limit = setting.flags.get("candidate_max_pixels")
        limited = packer.limited(limit and int(limit))
        tokens = limited.image_tokens(limited.encode(Image.new("RGB", (64, 64))))
        assert setting.name == f"{tokens}_tokens"


def test_all_of_a_seed_come_before_the_next_and_are_compared(tmp_path, monkeypatch, capsys):
    path, asked = tmp_path / "r.jsonl", []

    def work(queue, runs, results):
        asked.extend((setting.name, seed) for setting, seed in runs)
        for number, (setting, seed) in enumerate(runs):
            append_result(results, replace(drawn("baseline", seed, 1 + number % 3), setting=setting.name))
        return []

    monkeypatch.setattr(candidate_pixels, "work", work)
    assert candidate_pixels.main(["--seeds", "4", "5", "--results", str(path)]) == 0
    assert asked == [(f"{tokens}_tokens", seed) for seed in (4, 5) for tokens in (16, 9, 4)]
    head, _, *rows = (
        [cell.strip() for cell in line.strip("|").split("|")] for line in capsys.readouterr().out.split("\n")[:-1]
    )
    assert head[-1] == "difference at 200 km", "the paper has nothing to compare with"
    assert [row[:2] for row in rows] == [["16_tokens", "2"], ["9_tokens", "2"], ["4_tokens", "2"]]
    assert rows[0][4:] == ["", ""]
    assert all("[" in cell for row in rows[1:] for cell in row[4:])
