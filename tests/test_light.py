"""What is answered before anything heavy is imported, by looking at sys.modules of a fresh process, not at a clock."""

import json
import re
import subprocess
import sys

from tests.commands import ROOT
from tests.test_project import sources

HEAVY = ("torch", "transformers", "peft", "sklearn", "matplotlib", "openai", "accelerate", "deepspeed", "fastapi")
# The packages and modules that do without torch, in the words of docs/architecture.md.
LIGHT = [
    "candidates",
    "cli",
    "data_paths",
    "decoding",
    "figures",
    "geography",
    "jobs",
    "photos",
    "servers",
    "tables",
    "generation/api",
    "generation/completion",
    "generation/journal",
    "generation/tally",
    "locating/output_paths",
    "training/checkpoints",
    "training/copy_rule",
    "model/adapter_info",
    "model/budget",
    "model/fingerprints",
    "model/prompts",
    "model/quantizations",
    "model/readable",
    "model/sharing",
    "retrieval/clip_files",
    "retrieval/geoclip_files",
    "serving/chat",
    "serving/identity",
    "serving/reward_server",
    "web/hosts",
]

# Every command is asked in one process, and each may import what it likes: the first one to be heavy is named.
ASK = """
import contextlib, importlib, io, json, sys

def heavy():
    return [name for name in json.loads(sys.argv[1]) if name in sys.modules]

answers = {}
for module, *arguments in json.loads(sys.argv[2]):
    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(io.StringIO()) as err:
        try:
            code = importlib.import_module(module).main(arguments)
        except SystemExit as stop:
            code = stop.code
    answers[" ".join([module, *arguments])] = [code, out.getvalue() + err.getvalue(), heavy()]
json.dump(answers, sys.stdout)
"""


def ask(commands: list[list[str]], packages: tuple[str, ...] = HEAVY) -> dict[str, tuple[int | str, str, list[str]]]:
    """Command -> exit code or message, what it printed, and which of ``packages`` were imported by then."""
    command = [sys.executable, "-c", ASK, json.dumps(packages), json.dumps(commands)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def commands() -> list[str]:
    """The modules of all scripts, tools, and commands of the embedded world and of the benchmarks."""
    files = [path for path in sources() if re.search(r'^if __name__ == "__main__":', path.read_text(), re.MULTILINE)]
    return sorted(".".join(path.relative_to(ROOT).with_suffix("").parts) for path in files)


def test_help_and_wrong_flags_are_answered_first():
    modules = commands()
    assert {"evaluate", "quick_start", "tools.convert_adapter", "earth.lvlm.pretrain_tower", "benchmarks.gpu"} <= {
        *modules
    }
    for command, (code, printed, heavy) in ask(
        [[module, flag] for module in modules for flag in ("--help", "--nonsense")]
    ).items():
        assert heavy == [], command
        asked = command.endswith("--help")
        assert code == (0 if asked else 2), command
        assert ("usage: " if asked else "error: ") in printed, command


def test_help_of_the_numbered_steps_needs_neither_scipy_nor_pandas():
    steps = ["build_georanking", "compile_prediction_candidates", "lvlm_zs_predict", "retrieve_candidates"]
    for command, (code, _, found) in ask([[step, "--help"] for step in steps], ("scipy", "pandas")).items():
        assert (code, found) == (0, []), command


# Commands whose files are missing in a folder that has none.
MISSING = {
    "app": "--candidates away.csv",
    "build_georanking": "--root_path away --gallery away.csv --result_path r.parquet",
    "compile_prediction_candidates": "--root_path away",
    "evaluate": "--dataset im2gps3k --model_path away",
    "finetune_geo_ranker": "--model_save_path away --dataset away.parquet",
    "lvlm_zs_predict": "--root_path away --model_name m",
    "quick_start": "--image away.jpg --candidates away.csv --model_path away",
    "quick_start_im2gps3k": "--model_path away --candidates away.csv",
    "retrieve_candidates": "search --index away --queries away.csv --image_path away --output_dir away",
    "tools.audit_benchmark": "--queries away.csv --image_path q --gallery g.csv --image_data_path g --output a.csv",
    "tools.convert_adapter": "away ours",
    "tools.fit_consensus": "away.csv",
    "tools.fit_domain": "away --image_path away --calibration_path away --words w",
    "tools.gallery_from_exif": "away away.csv",
    "tools.import_gallery": "osv5m away.csv there.csv",
    "tools.index_tar": "away.tar",
    "tools.index_zips": "away.zip",
    "tools.import_outlines": "away.json",
    "tools.take_screenshots": "--images away",
    "tools.store_result": "away r.json --command c --machine m",
}


def test_missing_files_are_named_first():
    others = {"tools.draw_architecture"}  # which reads nothing but the checkout
    asked = {name for name in commands() if not name.startswith(("earth.", "benchmarks."))}
    assert asked == MISSING.keys() | others
    for command, (code, _, heavy) in ask([[module, *flags.split()] for module, flags in MISSING.items()]).items():
        assert heavy == [], command
        assert re.match("error: .*away", str(code), re.DOTALL), command


# Commands whose inputs are there in the folder {d}, and an output below a file; and what names it.
UNWRITABLE = {
    "app --keep {f}/kept": "--keep",
    "build_georanking --root_path {d} --gallery {f} --result_path {f}/r.parquet": "--result_path",
    "compile_prediction_candidates --root_path {d} --retrieval_path {f} --result_path {f}/c.csv": "--result_path",
    "evaluate --ranker random --candidates {f} --output_dir {f}/out": "--output_dir",
    "evaluate {model} --output_dir {d} --feature_cache {f}/cache": "--feature_cache",
    "finetune_geo_ranker --dataset {f} --image_path {d} --model_save_path {f}/out": "--model_save_path",
    "finetune_geo_ranker --dataset {f} --image_path {d} --model_save_path {d} --feature_cache {f}": "--feature_cache",
    "lvlm_zs_predict --model_name m --root_path {d} --text_path file --image_path . --result_path {f}/g.csv": (
        "--result_path"
    ),
    "quick_start --image {f} --candidates {f} --model_path {d} --output {f}/r.json": "--output",
    "quick_start --image {f} --candidates {f} --model_path {d} --output {d}/r.json --map {d}": "--map",
    "quick_start {model} --output {f}/r.json --map {d}/m.png": "--output",
    "quick_start {model} --output {d}/r.json --report {f}/r.html": "--report",
    "quick_start --image {d} --retriever geoclip --locations {d}/l.csv --report {f}/l.html": "--report",
    "quick_start --image {d} --index {d} --image_data_path {d} --model_path {d} --locations {f}/l.csv": "--locations",
    "retrieve_candidates build --gallery {f} --image_data_path {d} --model m --index {f}": "--index",
    "retrieve_candidates search --index {d} --queries {f} --image_path {d} --output_dir {f}/out": "--output_dir",
    "retrieve_candidates search --index geoclip --queries {f} --image_path {d} --output_dir {f}/out": "--output_dir",
    "tools.convert_adapter {d} {f}/out": "output",
    "tools.draw_architecture --output {f}/a.png": "--output",
    "tools.fit_consensus {f} --calibration {f}/votes.json --about a": "--calibration",
    "tools.gallery_from_exif {d} {f}/t.csv": "table",
    "tools.import_gallery osv5m {f} {f}/t.csv": "table",
    "tools.import_outlines {f} --output {f}/o": "--output",
    "tools.index_tar {f} --output {f}/i": "--output",
    "earth.build_dataset --output_dir {f}/out": "--output_dir",
}


def test_outputs_that_cannot_be_written_are_named_first(tmp_path):
    (tmp_path / "file").touch()
    for name in ("adapter_config.json", "index.json", "metadata.csv", "retrieval.csv", "I.npy"):
        (tmp_path / name).write_text("{}")
    model = "--dataset im2gps3k --candidates {f} --image_path {d} --image_data_path {d} --model_path {d}"
    there = {"d": tmp_path, "f": tmp_path / "file"}
    flags = {command.format(model=model.format(**there), **there): flag for command, flag in UNWRITABLE.items()}
    before = sorted(path for path in tmp_path.rglob("*") if path.is_file())
    for command, (code, _, heavy) in ask([command.split() for command in flags]).items():
        assert re.match(f"error: {flags[command]}: cannot be written: {tmp_path}", str(code)), (command, code)
        assert heavy == [], command
    assert sorted(path for path in tmp_path.rglob("*") if path.is_file()) == before


def test_light_modules_import_no_torch():
    modules = []
    for name in LIGHT:
        path = ROOT / "utils" / name
        files = sorted(path.rglob("*.py")) if path.is_dir() else [path.with_suffix(".py")]
        modules += [".".join(file.relative_to(ROOT).with_suffix("").parts) for file in files]
    code = """
import importlib, sys
for module in sys.argv[1:]:
    importlib.import_module(module)
    for name in ("torch", "transformers", "peft"):
        assert name not in sys.modules, f"{module} imports {name}"
"""
    done = subprocess.run([sys.executable, "-c", code, *modules], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
