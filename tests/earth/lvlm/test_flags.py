import argparse

import pytest

from earth.lvlm.flags import NEEDED, add_flags, open_run, parse


@pytest.fixture
def parser(tmp_path) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser()
    add_flags(parser, str(tmp_path / "run"), steps=1, peak=1.0, save_every=1, seed=0)
    return parser


def test_a_fresh_start_over_a_checkpoint_is_refused(parser, tmp_path, capsys):
    for name in NEEDED:
        (tmp_path / "data" / name).mkdir(parents=True)
    args = parse(parser, ["--data", str(tmp_path / "data")])
    open_run(args)
    assert args.run.is_dir()
    (tmp_path / "run" / "checkpoint.pt").write_bytes(b"hours of work")
    with pytest.raises(SystemExit):
        parse(parser, [])
    assert "checkpoint.pt is of an earlier run: go on from it with --resume" in capsys.readouterr().err
    assert parse(parser, ["--resume"]).resume


def test_missing_files_are_named_and_nothing_is_written(parser, tmp_path):
    args = parse(parser, ["--data", str(tmp_path / "data"), "--resume"])
    with pytest.raises(FileNotFoundError) as error:
        open_run(args, tmp_path / "base")
    for name in (*(f"data/{name}" for name in NEEDED), "base/config.json", "run/checkpoint.pt"):
        assert f"{tmp_path / name} does not exist" in str(error.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("flags", [["--steps", "0"], ["--learning_rate", "0"], ["--workers", "0"]])
def test_nonsense_is_refused(parser, flags):
    with pytest.raises(SystemExit):
        parse(parser, flags)
