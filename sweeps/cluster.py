"""Populations on Ray, on this machine or on a cluster.

Ray's driver is a process of its own that asks this one for populations: Ray ends its driver where it stands when a
process of its own is lost, takes over signals and writes to the terminal, none of which the search should notice.
"""

from __future__ import annotations

import multiprocessing
import os
import pickle
import secrets
import shutil
import signal
import socket
import tempfile
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from benchmarks.errors import UserError
from benchmarks.parallel import n_cores
from benchmarks.trials import PopulationRecord
from sweeps.backend import Search, compact
from sweeps.population import Data, Population

ROOT = Path(__file__).resolve().parents[1]
CODE = ("dmil", "datasets", "benchmarks", "sweeps")
MODES = ("token", "disabled")
PROBE_SECONDS = 3.0
START_SECONDS = 120
GRACE_SECONDS = 20
LEAST_STORE = 128 * 2**20  # bytes, beside the data
LONGEST_FOLDER = 26  # a socket's path has 103 characters at most; Ray's part of it 64, the folder's own name 13
SETTINGS = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_AIR_NEW_OUTPUT": "0",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",
    "TUNE_MAX_PENDING_TRIALS_PG": "1000",  # how many may wait for a device is decided by the queue
    "TUNE_GLOBAL_CHECKPOINT_S": "inf",  # the search keeps its own state
    "MLFLOW_DISABLE_TELEMETRY": "true",  # Ray imports mlflow to count who uses it
}
# Ray's word for "this machine alone": it then listens on the loopback address only.
ALONE = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}


def run(search: Search, data: Data, *, device: str, jobs: int | None, address: str | None, scratch: Path) -> None:
    """Trains every population of a search, as many at a time as the devices can hold, ``jobs`` at most.

    address: of a cluster, as host:port or auto; None: this machine. scratch: a folder for Ray's files, whoever made
    it removes it. A worker or a node that is lost costs its populations a new try.

    Raises:
        UserError: no cluster is there, it has no such device, or Ray ends before the search does.
    """
    if address is not None:
        check_address(address)
    with _short_folder(scratch.resolve()) as folder:
        place = Place(device, jobs, address, scratch.resolve(), folder)
        end = _run_driver(search, pickle.dumps(compact(data)), place)
    if end.is_bad_input:
        raise UserError(end.text)
    if end.text:
        raise RuntimeError(f"Ray's driver failed:\n{end.text}")


@contextmanager
def _short_folder(scratch: Path) -> Iterator[Path]:
    """A folder in ``scratch``, or elsewhere where that has too long a name."""
    where = None if len(str(scratch)) > LONGEST_FOLDER else scratch
    with tempfile.TemporaryDirectory(prefix="ray-", dir=where or "/tmp", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


def _run_driver(search: Search, data: bytes, place: Place) -> _End:
    """data: as bytes; torch would send its tensors through /dev/shm, of which containers have little."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_drive, args=(theirs, data, place), name="ray driver")
    process.start()
    theirs.close()
    try:
        if not ours.poll(START_SECONDS):
            process.kill()
            raise UserError(f"{place} did not answer within {START_SECONDS} s; is it Ray, and of this version?")
        return _serve(search, ours)
    except EOFError:
        process.join(GRACE_SECONDS)
        raise UserError(
            f"Ray ended before the search did (its driver with status {process.exitcode}), as it does when one of its "
            "node processes is lost; what has finished is kept, the same command goes on"
        ) from None
    finally:
        ours.close()
        process.join(GRACE_SECONDS)
        process.kill()
        process.join()


def check_address(address: str) -> None:
    """Raises UserError where no cluster can be joined: an unknown form, nobody answers, no login named."""
    if address.startswith("ray://"):
        raise UserError(
            f"RAY_ADDRESS={address!r} is a Ray Client address, but a sweep runs beside its results; start this command "
            "on a machine of the cluster, with RAY_ADDRESS=host:port of its head (6379, mostly) or auto"
        )
    if address != "auto":
        _probe(address)
    mode, token = os.environ.get("RAY_AUTH_MODE"), os.environ.get("RAY_AUTH_TOKEN_PATH")
    if mode not in MODES:
        raise UserError(
            f"RAY_ADDRESS={address!r} needs RAY_AUTH_MODE, but got {mode!r}; set it to token, and RAY_AUTH_TOKEN_PATH "
            "to the file with the cluster's token, or to disabled where the cluster was started so"
        )
    if mode == "token" and token and not os.path.isfile(token):
        raise UserError(f"RAY_AUTH_TOKEN_PATH={token!r} is no file; copy the cluster's token there (docs/cluster.md)")


def _probe(address: str) -> None:
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 2**16:
        raise UserError(f"RAY_ADDRESS={address!r} is no address of a Ray cluster; write host:port, or auto")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=PROBE_SECONDS).close()
    except OSError as error:
        raise UserError(
            f"no Ray cluster at {address} ({error}); start it (docs/cluster.md), "
            "or unset RAY_ADDRESS to use this machine alone"
        ) from error


@dataclass(frozen=True)
class Place:
    """Where the driver finds devices. folder: for the sockets of a Ray of its own; its name is short."""

    device: str
    jobs: int | None
    address: str | None
    scratch: Path
    folder: Path

    def __str__(self) -> str:
        return f"the Ray cluster at {self.address}" if self.address else "Ray on this machine"


@dataclass(frozen=True)
class _End:
    """How the driver ended. text: what went wrong, if anything; ``is_bad_input``: in one line for the user."""

    text: str = ""
    is_bad_input: bool = False


def _serve(search: Search, connection: Connection) -> _End:
    """Answers the driver's questions until it says how it ended. Raises EOFError if it is gone without."""
    while True:
        try:
            asked, arguments = connection.recv()
        except ConnectionError as error:
            raise EOFError from error
        if asked == "end":
            return _End(*arguments)
        found = getattr(search, asked)
        connection.send(found(*arguments) if callable(found) else found)


class _Asking:
    """The search as the driver sees it."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    @property
    def is_over(self) -> bool:
        return bool(self._ask("is_over"))

    def next(self) -> Population | None:
        found: Population | None = self._ask("next")
        return found

    def finish(self, population: Population, record: PopulationRecord) -> None:
        self._ask("finish", population, record)

    def fail(self, population: Population, reason: str) -> None:
        self._ask("fail", population, reason)

    def _ask(self, name: str, *arguments: Any) -> Any:
        self._connection.send((name, arguments))
        return self._connection.recv()


def _drive(connection: Connection, data: bytes, place: Place) -> None:
    """The driver's process, from start to end."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C in a terminal is for the parent, with which this one ends
    with (place.scratch / "driver.log").open("w") as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
    os.environ |= SETTINGS
    try:
        options = _alone(place, len(data)) if place.address is None else _joining(place)
        from sweeps import tuning

        tuning.run(_Asking(connection), pickle.loads(data), place, options)
        end = _End()
    except UserError as error:
        end = _End(str(error), is_bad_input=True)
    except Exception:
        end = _End(traceback.format_exc())
    if is_orphan():
        shutil.rmtree(place.scratch, ignore_errors=True)
        shutil.rmtree(place.folder, ignore_errors=True)
    else:
        with suppress(OSError):
            connection.send(("end", (end.text, end.is_bad_input)))


def is_orphan() -> bool:
    parent = multiprocessing.parent_process()
    return parent is not None and not parent.is_alive()


def _alone(place: Place, n_bytes: int) -> dict[str, Any]:
    """Options of ``ray.init`` for this machine alone: on the loopback address, with a token nobody else can read."""
    token = place.folder / "token"
    with os.fdopen(os.open(token, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(secrets.token_hex(32))
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    os.environ |= ALONE | {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(token), "PYTHONPATH": path}
    os.environ.pop("RAY_AUTH_TOKEN", None)
    return {
        "address": "local",
        "num_cpus": place.jobs or n_cores(),
        "num_gpus": 0 if place.device == "cpu" else None,
        "object_store_memory": 4 * n_bytes + LEAST_STORE,
        "include_dashboard": False,
        "_temp_dir": str(place.folder),
    }


def _joining(place: Place) -> dict[str, Any]:
    """For a cluster that is there: its workers get the code of this checkout, and the data through Ray."""
    code = place.scratch / "code"
    for name in CODE:
        shutil.copytree(ROOT / name, code / name, ignore=shutil.ignore_patterns("__pycache__"))
    return {"address": place.address, "runtime_env": {"working_dir": str(code)}}
