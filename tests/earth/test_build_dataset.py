import pytest

from earth import build_dataset


def test_a_split_of_another_size_is_refused(small_earth):
    arguments = [
        "--output_dir",
        str(small_earth / "data"),
        "--gallery_size",
        "61",
        "--split_sizes",
        "10",
        "1",
        "5",
        "1",
    ]
    with pytest.raises(SystemExit, match=r"gallery has 60 pictures, not 61"):
        build_dataset.main(arguments)


def test_what_is_there_is_kept(small_earth, capsys):
    sizes = ["--gallery_size", "60", "--split_sizes", "10", "1", "5", "1"]
    before = {path: path.stat().st_mtime_ns for path in (small_earth / "data").rglob("*.csv")}
    assert build_dataset.main(["--output_dir", str(small_earth / "data"), *sizes, "--workers", "1"]) == 0
    assert {path: path.stat().st_mtime_ns for path in (small_earth / "data").rglob("*.csv")} == before
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("there already") == len(before) == 5


@pytest.mark.parametrize("flags", [["--gallery_size", "0"], ["--split_sizes", "1", "1", "0", "1"], ["--workers", "0"]])
def test_nonsense_sizes_are_refused(flags, capsys):
    with pytest.raises(SystemExit):
        build_dataset.main(flags)
    assert "at least 1" in capsys.readouterr().err
