"""The command that indexes zips; the indexes themselves are tested in tests/utils/photos/."""

import pytest

from tests.zips import write_zip
from tools.index_zips import main


def test_command(tmp_path, capsys):
    for shard in range(2):
        write_zip(tmp_path / f"{shard}.zip", [(f"{shard}{i}.jpg", b"1") for i in range(3)] + [("/x", b"2")])
    assert main([str(tmp_path), str(tmp_path / "0.zip")]) == 0
    assert capsys.readouterr().out.splitlines() == [
        f"{tmp_path}/zips.index: 6 photos",
        "Left out: 2 members",
        "  /x in 0.zip: its name is no path inside of a folder",
        "  /x in 1.zip: its name is no path inside of a folder",
        f"{tmp_path}/0.zip.index: 3 photos",
        "Left out: 1 members",
        "  /x in 0.zip: its name is no path inside of a folder",
    ]


def test_command_reports(tmp_path, capsys):
    write_zip(tmp_path / "0.zip", [("a.jpg", b"1")])
    (tmp_path / "1.zip").write_bytes(b"a download that stopped")
    assert main([str(tmp_path)]) == 1
    assert "problem: 1.zip: File is not a zip file" in capsys.readouterr().err
    with pytest.raises(SystemExit, match=r"error: .*1\.zip: File is not a zip file"):
        main([str(tmp_path / "1.zip")])
    (tmp_path / "empty").mkdir()
    with pytest.raises(SystemExit, match=r"error: .*empty has no \.zip in it"):
        main([str(tmp_path / "empty")])
