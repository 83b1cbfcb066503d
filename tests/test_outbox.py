"""The outbox: entries appear whole, in order, and survive the death of whoever writes them."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from benchmarks.errors import UserError
from benchmarks.outbox import Outbox, read_records
from benchmarks.record import Plan
from tests.made_runs import failed_record, made_plan, made_record, put


@pytest.fixture
def outbox(tmp_path: Path) -> Outbox:
    return Outbox(tmp_path / "results" / "outbox")


def test_entry_comes_back_as_written(outbox: Outbox) -> None:
    plan = made_plan({"joint": [0, 1]})
    records = [made_record(seed=1), made_record(seed=0, metrics={"test/nll": float("inf")})]
    put(outbox, *records, plan=plan)
    (entry,) = outbox.entries()
    assert [record for _, record in read_records(entry)] == [records[1], records[0]]
    loaded = Plan.load(entry)
    assert (loaded.rows, loaded.command) == (plan.rows, plan.command)


def test_entries_keep_the_order_of_writing_beyond_ten(outbox: Outbox) -> None:
    for seed in range(12):
        put(outbox, made_record(seed=seed))
    assert [record.seed for _, record in outbox.records()] == list(range(12))


def test_an_empty_outbox_has_no_entries_and_makes_no_folder(outbox: Outbox) -> None:
    assert outbox.entries() == []
    assert outbox.find("abc") is None
    assert not outbox.root.exists()


def test_an_exception_leaves_nothing(outbox: Outbox) -> None:
    with pytest.raises(ZeroDivisionError), outbox.stage() as folder:
        made_record().save(folder / "k")
        raise ZeroDivisionError
    assert list(outbox.root.iterdir()) == []


def test_find_gives_the_newest_finished_run(outbox: Outbox) -> None:
    key = made_record().key
    put(outbox, made_record())
    put(outbox, made_record(ended=9))
    put(outbox, failed_record("joint", 0))
    assert outbox.find(key) == outbox.entries()[1] / key
    assert outbox.find("other") is None


def test_removed_entry_is_gone(outbox: Outbox) -> None:
    put(outbox, made_record(seed=0))
    put(outbox, made_record(seed=1))
    outbox.remove(outbox.entries()[0])
    assert [record.seed for _, record in outbox.records()] == [1]
    assert len(list(outbox.root.iterdir())) == 1


def test_results_folder_that_cannot_be_written_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "results").write_text("a file where the folder should be")
    with (
        pytest.raises(UserError, match=r"cannot write results to \S+results \(") as caught,
        Outbox(tmp_path / "results" / "outbox").stage(),
    ):
        pass
    assert "\n" not in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["results"]


def test_record_of_another_version_is_one_clear_line(outbox: Outbox) -> None:
    with outbox.stage() as folder:
        (folder / "k").mkdir()
        (folder / "k" / "record.json").write_text('{"no": "record"}')
    with pytest.raises(UserError, match="is not a run record of this version"):
        outbox.records()


WRITER = """
import sys
from pathlib import Path
from benchmarks.outbox import Outbox
from tests.made_runs import made_record
outbox = Outbox(Path(sys.argv[1]))
print("ready", flush=True)
while True:
    with outbox.stage() as folder:
        for seed in range(5):
            made_record(seed=seed).save(folder / f"k{seed}")
"""


@pytest.mark.parametrize("delay", [0.0, 0.013, 0.05])
def test_kill_never_leaves_half_an_entry(outbox: Outbox, delay: float, root: Path) -> None:
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(outbox.root)], cwd=root, stdout=subprocess.PIPE, text=True
    )
    with writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "ready\n"
        time.sleep(delay)
        os.kill(writer.pid, signal.SIGKILL)
    assert all(len(read_records(entry)) == 5 for entry in outbox.entries())
    assert all(path.name.isdigit() for path in outbox.root.glob("*"))


def _write_many(root: Path, seed: int) -> None:
    for _ in range(20):
        put(Outbox(root), made_record(seed=seed))


def test_two_writers_at_once_lose_nothing(outbox: Outbox) -> None:
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=_write_many, args=(outbox.root, seed)) for seed in (0, 1)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert sorted(record.seed for _, record in outbox.records()) == [0] * 20 + [1] * 20
