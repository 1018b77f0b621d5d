"""The benchmark's pickle is what pickle itself would write, and a small run measures everything."""

import json
import pickle
import pickletools

from benchmarks import tar_index
from benchmarks.work.tar_index import photo_id, tar_info, write_released_pickle


def test_the_pickle_is_a_released_one(tmp_path):
    path = tmp_path / "tar_index.pkl"
    write_released_pickle(path, 2500)
    index = pickle.loads(path.read_bytes())
    assert list(index) == [photo_id(number) for number in range(2500)]
    for number, (image_id, member) in enumerate(index.items()):
        expected = tar_info(number, member.offset_data, member.size)
        assert member.get_info() == expected.get_info()
        assert (member.name is image_id, member.offset) == (True, member.offset_data - 512)

    def program(data: bytes) -> list[tuple]:
        # Numbers below 256 have a shorter opcode; frames are optional.
        opcodes = [(opcode.name.removeprefix("LONG_"), value) for opcode, value, _ in pickletools.genops(data)]
        return [entry for entry in opcodes if entry[0] != "FRAME"]

    assert program(path.read_bytes()) == program(pickle.dumps(index, protocol=4))


def test_small_run(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(tar_index, "LOOKUPS", 100)
    tar_index.main(["--entries", "3000", "--workers", "2", "--output", str(tmp_path / "out.json")])
    results = json.loads((tmp_path / "out.json").read_text())
    assert results["entries"] == 3000
    assert results["convert"]["peak_mib"] > 0
    for name in ("index", "plain"):
        assert results[name]["one_process"]["lookups_per_second"] > 0
        assert results[name]["forked"]["lookups_per_second"] > 0
    assert "lookups a second, 2 forked processes together" in capsys.readouterr().out
