import json
import re
import shutil
from pathlib import Path

import pytest

from utils.generation.local import LocalModel
from utils.geo_ranker import GeoRanker


@pytest.mark.parametrize(
    "change", [None, {"mrope_section": None}, {"mrope_section": [1, 1, 1]}, {"mrope_section": [1]}]
)
def test_a_base_whose_positions_are_not_shared_out_is_refused(
    change: dict | None, tiny_base: Path, tmp_path: Path
) -> None:
    base = shutil.copytree(tiny_base, tmp_path / "base")
    config = json.loads((base / "config.json").read_text())
    text = config["text_config"]
    text["rope_parameters"] = change and text["rope_parameters"] | change
    (base / "config.json").write_text(json.dumps(config))
    for load in (GeoRanker.from_pretrained, LocalModel.from_pretrained):
        with pytest.raises(ValueError, match=rf"^{re.escape(str(base))}/config.json: .*mrope_section") as raised:
            load(base, device="cpu")
        assert "\n" not in str(raised.value)
