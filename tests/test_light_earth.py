"""Missing files and outputs that cannot be written are named before anything heavy is imported.

tests/test_light.py asks for help and wrong flags.
"""

import re

from tests.test_light import ask, commands

# Commands whose files are missing, by the flag that says so. earth.build_dataset reads none.
MISSING = {
    "earth.export_gallery": "away --gallery away",
    "earth.lvlm.pretrain_language": "--data away --run away/run",
    "earth.lvlm.pretrain_lvlm": "--data away --run away/run",
    "earth.lvlm.pretrain_tower": "--data away --run away/run",
    "earth.studies.ablation_table": "--results away",
    "earth.studies.ablations": "--data away",
    "earth.studies.candidate_pixels": "--data away",
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


# Commands whose inputs are there in the folder {d}, and an output below the file {f}; and what names it.
UNWRITABLE = {
    "earth.export_gallery {f}/mini --gallery {d}/gallery": "folder",
    "earth.lvlm.pretrain_lvlm --data {d} --run {d}/new --output_dir {f}/out": "--output_dir",
    "earth.lvlm.pretrain_tower --data {d} --model {d} --output_dir {d}/out --run {f}/run": "--run",
    "earth.lvlm.pretrain_language --data {d} --model {d} --output_dir {f}/out --run {d}/new": "--output_dir",
    "earth.studies.ablations --data {d} --results {f}/r.jsonl --run {d}": "--results",
    "earth.studies.ablations --data {d} --results {d}/r.jsonl --run {f}": "--run",
    "earth.studies.candidate_pixels --data {d} --results {f}/r.jsonl --run {d}": "--results",
    "earth.studies.candidate_pixels --data {d} --results {d}/r.jsonl --run {f}": "--run",
    "earth.studies.confidence --val {d} --test {d} --output {f}/c.json": "--output",
    "earth.studies.plots --results {d} --images {f}/images": "--images",
    "earth.studies.scaling --data {d} --model {d} --model_path {d} --output {f}/s.json": "--output",
    "earth.studies.scaling --data {d} --model {d} --model_path {d} --output {d}/s.json --run_dir {f}": "--run_dir",
    "earth.studies.transfer --candidates {f} --val {f} --output {f}/t.json": "--output",
    "benchmarks.gpu --output_dir {f}/out": "--output_dir",
    "benchmarks.growth --output {f}/g.json": "--output",
    "benchmarks.growth --output {d}/g.json --picture {f}/g.png": "--picture",
    "benchmarks.index --output {f}/i.json": "--output",
    "benchmarks.locate --only geoclip --output {f}/l.json": "--output",
    "benchmarks.search --output {f}/s.json": "--output",
    "benchmarks.startup --output {f}/s.json": "--output",
    "benchmarks.tar_index --output {f}/t.json": "--output",
    "benchmarks.pipeline --output {f}/p.json": "--output",
    "benchmarks.ranking --output {f}/r.json": "--output",
    "benchmarks.training --output {f}/t.json": "--output",
}
# What the commands read there.
THERE = (
    *("gallery/metadata.csv", "gallery/images.tar", "gallery/index/index.json", "pretrain/metadata.csv"),
    *("train/georanking.parquet", "train/metadata.csv", "val/candidates.csv", "val/metadata.csv", "val/images"),
    *("test/candidates.csv", "test/metadata.csv", "test/images", "config.json", "georanker.json", "metrics.json"),
)


def test_outputs_that_cannot_be_written_are_named_first(tmp_path):
    for name in ("file", *THERE):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    there = {"d": tmp_path, "f": tmp_path / "file"}
    flags = {command.format(**there): flag for command, flag in UNWRITABLE.items()}
    for command, (code, _, heavy) in ask([command.split() for command in flags]).items():
        assert re.match(f"error: {flags[command]}: cannot be written: {tmp_path}", str(code)), (command, code)
        assert heavy == [], command
