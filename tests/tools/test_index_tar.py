"""The command that indexes tars; the indexes themselves are tested in tests/utils/photos/."""

import pytest

from tests.tars import numbered, write_tar
from tools.index_tar import main
from utils.photos.tar_index import TarIndex, open_index
from utils.photos.tar_index_pickle import write_tar_index


def test_command(tmp_path, capsys):
    tars = [str(numbered(tmp_path / f"{i}.tar", count=5 + i)) for i in range(2)]
    assert main(tars) == 0
    assert capsys.readouterr().out == f"{tars[0]}.index: 5 photos\n{tars[1]}.index: 6 photos\n"
    write_tar_index(tars[0], tmp_path / "tar_index.pkl")
    assert main([tars[0], "--pickle", str(tmp_path / "tar_index.pkl")]) == 0
    assert capsys.readouterr().out == f"{tmp_path}/tar_index.pkl.index: 5 photos\n"
    assert main([tars[0], "--output", str(tmp_path / "elsewhere" / "an.index")]) == 0
    assert len(open_index(tars[0], tmp_path / "elsewhere" / "an.index")) == 5


def test_command_reports(tmp_path, capsys):
    tar = numbered(tmp_path / "0.tar")
    tar.write_bytes(tar.read_bytes()[:5000])
    assert main([str(tar)]) == 1
    assert "problem: " in capsys.readouterr().err
    with pytest.raises(SystemExit, match=r"error: .*absent\.tar"):
        main([str(tmp_path / "absent.tar")])
    with pytest.raises(SystemExit) as stop:
        main([str(tar), str(tar), "--pickle", "tar_index.pkl"])
    assert stop.value.code == 2


def test_leading_folders_are_left_out_where_asked(tmp_path, capsys):
    path = write_tar(tmp_path / "images.tar", [("./images/a.jpg", b"1"), ("images/sub/b.jpg", b"22"), ("c.jpg", b"3")])
    assert main([str(path)]) == 0
    assert list(TarIndex(f"{path}.index")) == ["c.jpg", "images/a.jpg", "images/sub/b.jpg"]
    assert main([str(path), "--strip", "1"]) == 0
    index = TarIndex(f"{path}.index")
    assert {name: index[name].size for name in index} == {"a.jpg": 1, "c.jpg": 1, "sub/b.jpg": 2}
    with pytest.raises(SystemExit):
        main([str(path), "--strip", "-1"])
    assert "--strip" in capsys.readouterr().err
