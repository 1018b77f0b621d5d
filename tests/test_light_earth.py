"""Missing files are named before anything heavy is imported; tests/test_light.py asks for help and wrong flags."""

import re

from tests.test_light import ask, commands

# Commands whose files are missing, by the flag that says so. earth.build_dataset reads none.
MISSING = {
    "earth.lvlm.pretrain_language": "--data away --run away/run",
    "earth.lvlm.pretrain_lvlm": "--data away --run away/run",
    "earth.lvlm.pretrain_tower": "--data away --run away/run",
    "earth.studies.ablation_table": "--results away",
    "earth.studies.ablations": "--data away",
    "earth.studies.confidence": "--val away",
    "earth.studies.plots": "--results away",
    "earth.studies.scaling": "--data away",
    "earth.studies.transfer": "--candidates away",
    "benchmarks.startup": "--against away",
    "benchmarks.tar_index": "--folder away",
}


def test_missing_files_are_named_first():
    earth = {name for name in commands() if name.startswith("earth.")}
    assert MISSING.keys() >= earth - {"earth.build_dataset"}
    for command, (code, _, heavy) in ask([[module, *flags.split()] for module, flags in MISSING.items()]).items():
        assert heavy == [], command
        assert re.match(r"error: .*away\S* does not exist", str(code), re.DOTALL), command
