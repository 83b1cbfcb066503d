"""Populations on Ray: the same numbers, whoever is killed; real Ray processes, here and as a cluster of two nodes."""

from __future__ import annotations

import multiprocessing
import os
import signal
import socket
import stat
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest

from benchmarks.errors import UserError
from benchmarks.trials import PopulationRecord
from sweeps import cluster
from sweeps.population import Population, train_population
from tests.test_population import BUDGET, Given, made, made_data, results

SPAWN = multiprocessing.get_context("spawn")
ENDLESS = 1_000_000


def lasting(number: int, epochs: int) -> Population:
    return made(number, budget=BUDGET | {"epochs": epochs, "patience": epochs})


def broken(number: int, **settings: Any) -> Population:
    population = made(number)
    first = population.configurations[0]
    return replace(population, configurations=(replace(first, settings=first.settings | settings),))


@pytest.fixture
def mark(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    """What all processes of a test have in their environment, beside a home folder of its own."""
    text = f"MADE_SWEEP={uuid.uuid4().hex}"
    monkeypatch.setenv(*text.split("="))
    (tmp_path / "home").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for name in [name for name in os.environ if name.startswith("RAY_")]:
        monkeypatch.delenv(name)
    return text


def marked(mark: str, command: str = "") -> list[int]:
    """Living processes of a test whose command line has this in it, in order of their numbers."""
    found = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            environment = Path(f"/proc/{name}/environ").read_bytes().split(b"\0")
            line = Path(f"/proc/{name}/cmdline").read_bytes().replace(b"\0", b" ").decode()
        except OSError:
            continue
        # The tracker of multiprocessing belongs to the tests' own process.
        if mark.encode() in environment and command in line and "resource_tracker" not in line:
            found.append(int(name))
    return sorted(found)


def wait_for(condition: Callable[[], Any], seconds: float) -> Any:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := condition():
            return found
        time.sleep(0.2)
    pytest.fail(f"not within {seconds} s")


def run(search: Given, scratch: Path, **options: Any) -> None:
    scratch.mkdir()
    usual: dict[str, Any] = {"device": "cpu", "jobs": 2, "address": None}
    cluster.run(search, made_data(), scratch=scratch, **usual | options)


class Meanwhile(threading.Thread):
    """Does something beside a search, and says afterwards what went wrong with it."""

    def __init__(self, work: Callable[[], None]) -> None:
        super().__init__()
        self.work, self.error = work, None  # type: tuple[Callable[[], None], BaseException | None]
        self.start()

    def run(self) -> None:
        try:
            self.work()
        except BaseException as error:
            self.error = error

    def end(self) -> None:
        self.join()
        if self.error:
            raise self.error


class Noting(Given):
    """Calls ``on_finish`` when the first population is done."""

    def __init__(self, populations: list[Population], on_finish: Callable[[], None]) -> None:
        super().__init__(populations)
        self.on_finish = on_finish

    def finish(self, population: Population, record: PopulationRecord) -> None:
        super().finish(population, record)
        if len(self.finished) == 1:
            self.on_finish()


def test_the_same_numbers_side_by_side_and_nothing_left_behind(
    mark: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Everything that one start of Ray can show."""
    seen: dict[str, Any] = {}

    def look() -> None:
        (token,) = (path for pid in marked(mark, "gcs_server") if (path := token_of(pid)))
        seen["token"] = stat.S_IMODE(token.stat().st_mode), len(token.read_text())
        seen["addresses"] = {address for pid in marked(mark) for address in listening(pid)}

    populations = [made(number) for number in range(4)]
    search = Noting([*populations, broken(4, no_such=1), broken(5, width=10**7)], look)
    run(search, tmp_path / "scratch")
    assert (search.is_over, search.most) == (True, 2)
    for population in populations:
        assert results(search.finished[population.number]) == results(train_population(population, made_data()))
    assert set(search.failed) == {4, 5}
    assert "unknown setting 'no_such'" in search.failed[4]
    assert search.failed[5].startswith("worker out of memory: ")
    assert not any("\n" in line for line in search.failed.values())
    assert seen == {"token": (0o600, 64), "addresses": {"127.0.0.1"}}
    assert wait_for(lambda: not marked(mark), 30)
    assert list((tmp_path / "home").rglob("*")) == []
    assert capfd.readouterr() == ("", "")


def token_of(pid: int) -> Path | None:
    values = dict(line.split("=", 1) for line in Path(f"/proc/{pid}/environ").read_text().split("\0") if "=" in line)
    return Path(values["RAY_AUTH_TOKEN_PATH"]) if values.get("RAY_AUTH_MODE") == "token" else None


def listening(pid: int) -> set[str]:
    """Addresses at which a process waits for connections."""
    sockets = set()
    for handle in Path(f"/proc/{pid}/fd").iterdir():
        try:
            sockets.add(os.readlink(handle))
        except OSError:
            continue
    found = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            words = line.split()
            if words[3] == "0A" and f"socket:[{words[9]}]" in sockets:
                # The last four bytes, in the machine's order: of ::ffff:127.0.0.1 as well.
                found.add(socket.inet_ntoa(bytes.fromhex(words[1].split(":")[0][-8:])[::-1]))
    return found


@pytest.mark.slow
def test_a_killed_worker_costs_a_new_try_and_a_killed_node_ends_in_one_line(mark: str, tmp_path: Path) -> None:
    populations = [made(0), lasting(1, 600), lasting(2, 600), lasting(3, ENDLESS)]
    search = Given(list(populations))
    killed: list[int] = []

    def kill() -> None:
        wait_for(lambda: 0 in search.finished, 60)
        killed.append(wait_for(lambda: marked(mark, "ray::ImplicitFunc.train"), 30)[0])
        os.kill(killed[0], signal.SIGKILL)
        wait_for(lambda: len(search.finished) == 3, 90)
        os.kill(marked(mark, "raylet/raylet")[0], signal.SIGKILL)

    killer = Meanwhile(kill)
    with pytest.raises(UserError, match=r"^Ray .*lost; what has finished is kept, the same command goes on$"):
        run(search, tmp_path / "scratch")
    killer.end()
    assert search.failed == {}
    assert not any(search.finished[number].worker.endswith(f":{killed[0]}") for number in (1, 2))
    for population in populations[:3]:
        assert results(search.finished[population.number]) == results(train_population(population, made_data()))
    assert wait_for(lambda: not marked(mark), 90)


def endless_search(scratch: str, connection: Connection) -> None:
    run(Noting([made(0), lasting(1, ENDLESS)], lambda: connection.send("finished")), Path(scratch))


@pytest.mark.slow
def test_a_killed_command_takes_all_its_processes_along(mark: str, tmp_path: Path) -> None:
    ours, theirs = SPAWN.Pipe()
    command = SPAWN.Process(target=endless_search, args=(str(tmp_path / "scratch"), theirs))
    command.start()
    assert ours.poll(60)
    assert len(marked(mark, "ray::ImplicitFunc")) == 2
    command.kill()
    command.join()
    assert wait_for(lambda: not marked(mark), 60)
    assert not (tmp_path / "scratch").exists()


@pytest.mark.slow
def test_what_the_search_raises_comes_through(mark: str, tmp_path: Path) -> None:
    def refuse() -> None:
        raise UserError("no space left in results")

    with pytest.raises(UserError, match=r"^no space left in results$"):
        run(Noting([made(0), lasting(1, ENDLESS)], refuse), tmp_path / "scratch")
    assert wait_for(lambda: not marked(mark), 5)


def two_nodes(folder: str, connection: Connection) -> None:
    """A cluster of two nodes with one CPU each; the second is taken away without warning when told so."""
    Path(folder, "ray").mkdir()
    os.environ["RAY_TMPDIR"] = folder
    from ray.cluster_utils import Cluster

    nodes = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    second = nodes.add_node(num_cpus=1)
    nodes.wait_for_nodes()
    connection.send(nodes.address)
    while connection.recv() == "remove":
        nodes.remove_node(second, allow_graceful=False)
        connection.send("removed")
    nodes.shutdown()


@pytest.fixture
def nodes(mark: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[tuple[str, Connection]]:
    """Address of a cluster, and what controls it."""
    (tmp_path / "token").write_text("0123456789abcdef" * 4)
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(tmp_path / "token"))
    ours, theirs = SPAWN.Pipe()
    with tempfile.TemporaryDirectory(prefix="nodes-", dir="/tmp") as folder:
        process = SPAWN.Process(target=two_nodes, args=(folder, theirs))
        process.start()
        assert ours.poll(60)
        yield ours.recv(), ours
        ours.send("end")
        process.join()


@pytest.mark.slow
def test_a_study_split_over_two_nodes_survives_the_loss_of_one(
    mark: str, nodes: tuple[str, Connection], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    address, control = nodes
    populations = [lasting(0, 100), lasting(1, 100), lasting(2, 700), lasting(3, 700), made(4)]
    search = Given(list(populations))

    def remove() -> None:
        wait_for(lambda: len(search.finished) == 2, 90)
        time.sleep(2)
        control.send("remove")
        assert control.recv() == "removed"

    remover = Meanwhile(remove)
    run(search, tmp_path / "scratch", address=address, jobs=None)
    remover.end()
    assert (search.is_over, search.most, search.failed) == (True, 2, {})
    workers = [search.finished[number].worker for number in range(5)]
    assert workers[0] != workers[1]
    assert len(set(workers[2:])) < 3
    for population in populations:
        assert results(search.finished[population.number]) == results(train_population(population, made_data()))
    shipped = tmp_path / "scratch" / "code"
    assert {path.name for path in shipped.iterdir()} == {"benchmarks", "datasets", "dmil", "sweeps"}

    with pytest.raises(UserError, match=rf"^the Ray cluster at {address} has no GPU to train on$"):
        run(Given([made(0)]), tmp_path / "second", address=address, device="cuda")
    (tmp_path / "token").write_text("f" * 64)
    with pytest.raises(UserError, match=r"^the Ray cluster at .* cannot be used .*[Aa]uthentication token is"):
        run(Given([made(0)]), tmp_path / "third", address=address)
