"""Parallel preparation into memory-mapped arrays: by hand, resumed, killed, damaged."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from functools import partial
from importlib import import_module
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import torch

from tests.made_media import process_id, read_number, write_numbers

clips = import_module("benchmarks.datasets._clips")
files = import_module("benchmarks.datasets._files")
workers = import_module("benchmarks.datasets._workers")

COLUMNS = (clips.Column("x", (2, 3), "float32"), clips.Column("y", (1,)))


class Numbers:
    """Files with a number each, and a log of which of them were read."""

    def __init__(self, folder: Path, n: int) -> None:
        self.folder, self.log = folder, folder / ".log"
        self.items = write_numbers(folder, n)

    def build(self, folder: Path, *, read: Any = read_number, jobs: int | None = 1) -> dict[str, torch.Tensor]:
        found: dict[str, torch.Tensor] = clips.build(
            folder, self.items, COLUMNS, partial(read, self.log), title="numbers", jobs=jobs
        )
        return found

    def n_reads(self) -> Counter[str]:
        return Counter(self.log.read_text().split()) if self.log.exists() else Counter()


@pytest.fixture
def numbers(tmp_path: Path) -> Numbers:
    return Numbers(tmp_path / "raw", 6)


def check(found: dict[str, torch.Tensor], n: int) -> None:
    assert torch.equal(found["x"], torch.arange(n, dtype=torch.float32)[:, None, None].expand(n, 2, 3))
    assert torch.equal(found["y"], (torch.arange(n) % 256).to(torch.uint8)[:, None])


def test_rows_are_in_the_order_of_the_items_and_read_once(numbers: Numbers, tmp_path: Path) -> None:
    check(numbers.build(tmp_path / "out"), 6)
    check(numbers.build(tmp_path / "out"), 6)
    assert numbers.n_reads() == Counter(numbers.items)
    visible = [path.name for path in tmp_path.iterdir() if not path.name.startswith(".")]
    assert sorted(visible) == ["out", "raw"]
    assert not list(tmp_path.glob("*.part"))


def test_processes_share_the_work(tmp_path: Path) -> None:
    numbers = Numbers(tmp_path / "raw", 40)
    check(numbers.build(tmp_path / "two", jobs=2), 40)
    assert numbers.n_reads() == Counter(numbers.items)
    numbers.build(tmp_path / "one")
    assert clips.content(tmp_path / "one") == clips.content(tmp_path / "two")


def test_processes_are_kept_for_the_next_part_and_end_with_the_last() -> None:
    with workers.kept_processes():
        first = set(workers.spread(process_id, range(4), 2))
        second = set(workers.spread(process_id, range(4), 2))
    assert first & second
    assert len(first | second) <= workers.n_cores()
    assert os.getpid() not in first | second
    wait_for(lambda: not any(is_alive(pid) for pid in first | second))


def test_writing_to_a_tensor_leaves_the_files_alone(numbers: Numbers, tmp_path: Path) -> None:
    numbers.build(tmp_path / "out")["x"].fill_(-1)
    check(numbers.build(tmp_path / "out"), 6)


def test_a_damaged_item_is_named_and_the_others_are_kept(numbers: Numbers, tmp_path: Path) -> None:
    for i in (2, 4):
        (numbers.folder / f"{i}.txt").write_text("no number")
    with pytest.raises(files.DataError) as error:
        numbers.build(tmp_path / "out")
    assert str(error.value).startswith(f"{numbers.folder / '2.txt'} holds 'no number' (and 1 more: ")
    assert "\n" not in str(error.value)
    assert str(numbers.folder / "4.txt") in str(error.value)
    assert not (tmp_path / "out").exists()
    for i in (2, 4):
        (numbers.folder / f"{i}.txt").write_text(str(i))
    check(numbers.build(tmp_path / "out"), 6)
    assert numbers.n_reads() == Counter(numbers.items) + Counter(["2.txt", "4.txt"])


def test_many_damaged_items_end_it_early(tmp_path: Path) -> None:
    numbers = Numbers(tmp_path / "raw", 200)
    for item in numbers.items:
        (numbers.folder / item).write_text("no number")
    with pytest.raises(files.DataError, match=r"0\.txt holds"):
        numbers.build(tmp_path / "out")
    assert len(numbers.n_reads()) < 60


def test_an_item_that_is_gone_is_named(numbers: Numbers, tmp_path: Path) -> None:
    (numbers.folder / "3.txt").unlink()
    with pytest.raises(files.DataError, match=r"No such file.*3\.txt"):
        numbers.build(tmp_path / "out")


def test_another_recipe_is_never_mixed_in(numbers: Numbers, tmp_path: Path) -> None:
    """What is left of the items 0 to 5 has no say when items 5 to 0 are prepared, nor do the arrays of 0 to 5."""
    (numbers.folder / "5.txt").write_text("no number")
    with pytest.raises(files.DataError):
        numbers.build(tmp_path / "out")
    (numbers.folder / "5.txt").write_text("5")
    numbers.items.reverse()
    assert numbers.build(tmp_path / "out")["y"].flatten().tolist() == [5, 4, 3, 2, 1, 0]
    numbers.items.reverse()
    check(numbers.build(tmp_path / "out"), 6)


@pytest.mark.parametrize(("name", "n_again"), [("x.npy", 5), ("rows.sums", 6), ("recipe.json", 6)])
def test_a_file_cut_short_is_made_again(
    numbers: Numbers, tmp_path: Path, name: str, n_again: int, caplog: pytest.LogCaptureFixture
) -> None:
    """Of a lost array not the row that is 0, as a new file is."""
    numbers.build(tmp_path / "out")
    path = tmp_path / "out" / name
    path.write_bytes(path.read_bytes()[:-7])
    check(numbers.build(tmp_path / "out"), 6)
    assert sum(numbers.n_reads().values()) == 6 + n_again
    assert "damaged" in caplog.text or name == "recipe.json"


def test_only_rows_that_differ_are_made_again(numbers: Numbers, tmp_path: Path) -> None:
    """One of six rows of an unfinished folder was written badly, as when the power fails."""
    (numbers.folder / "5.txt").write_text("no number")
    with pytest.raises(files.DataError):
        numbers.build(tmp_path / "out")
    (part,) = tmp_path.glob(".out.*.part")
    data = bytearray((part / "x.npy").read_bytes())
    data[-4 * 6 * 4] ^= 1  # row 2
    (part / "x.npy").write_bytes(data)
    (numbers.folder / "5.txt").write_text("5")
    check(numbers.build(tmp_path / "out"), 6)
    assert numbers.n_reads() == Counter(numbers.items) + Counter(["2.txt", "5.txt"])


def test_two_at_once_do_it_once(numbers: Numbers, tmp_path: Path) -> None:
    threads = [Thread(target=numbers.build, args=(tmp_path / "out",)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert numbers.n_reads() == Counter(numbers.items)


def test_a_row_of_another_shape_or_type_is_an_error(numbers: Numbers, tmp_path: Path) -> None:
    columns = (clips.Column("x", (3, 2), "float32"), COLUMNS[1])
    with pytest.raises(ValueError, match=r"column 'x' has rows of float32 \(3, 2\), but got float32 \(2, 3\)"):
        clips.build(tmp_path / "out", numbers.items, columns, partial(read_number, numbers.log), title="", jobs=1)


def test_nothing_to_do_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(files.DataError, match="numbers: there is nothing to prepare"):
        clips.build(tmp_path / "out", [], COLUMNS, read_number, title="numbers")


def test_too_little_room_is_said_before_anything_is_decoded(
    numbers: Numbers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(1, 1, 1))
    with pytest.raises(files.DataError, match=r"no room in .*DMIL_CACHE"):
        numbers.build(tmp_path / "out")
    assert not numbers.n_reads()


def test_a_folder_that_cannot_be_written_is_an_error(numbers: Numbers, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(files.DataError, match="cannot write"):
        numbers.build(tmp_path / "file" / "out")


def test_an_item_that_kills_its_process_is_named(tmp_path: Path) -> None:
    numbers = Numbers(tmp_path / "raw", 40)
    (numbers.folder / "7.txt").write_text("die")
    with pytest.raises(files.DataError, match=r"a process died .*'7\.txt'"):
        numbers.build(tmp_path / "out", jobs=2)
    (numbers.folder / "7.txt").write_text("7")
    check(numbers.build(tmp_path / "out", jobs=2), 40)


SCRIPT = """
import sys
from functools import partial
from importlib import import_module
from pathlib import Path
from tests.made_media import read_number_slowly

if __name__ == "__main__":
    clips = import_module("benchmarks.datasets._clips")
    raw, n = Path(sys.argv[1]), int(sys.argv[3])
    columns = (clips.Column("x", (2, 3), "float32"), clips.Column("y", (1,)))
    items = [f"{i}.txt" for i in range(n)]
    clips.build(Path(sys.argv[2]), items, columns, partial(read_number_slowly, raw / ".log"), title="", jobs=2)
"""


def test_it_survives_a_kill_and_goes_on(tmp_path: Path, root: Path) -> None:
    """Killed while two processes work: they end as well, and what was done is not done again."""
    numbers = Numbers(tmp_path / "raw", 60)
    (tmp_path / "script.py").write_text(SCRIPT)
    command = [sys.executable, str(tmp_path / "script.py"), str(numbers.folder), str(tmp_path / "out"), "60"]
    environment = os.environ | {"PYTHONPATH": str(root)}
    process = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
    wait_for(lambda: sum(numbers.n_reads().values()) >= 10)
    workers = children(process.pid)
    assert len(workers) >= 2
    process.send_signal(signal.SIGKILL)
    process.wait()
    wait_for(lambda: not any(is_alive(pid) for pid in workers))
    n_before = sum(numbers.n_reads().values())
    assert n_before < 60
    assert not (tmp_path / "out").exists()
    check(numbers.build(tmp_path / "out"), 60)
    assert set(numbers.n_reads()) == set(numbers.items)
    assert sum(numbers.n_reads().values()) <= 60 + 2  # what each was at


def wait_for(condition: Any, seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def is_alive(pid: int) -> bool:
    """A process that has ended but was not waited for is not alive."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
