"""Where MLflow keeps its runs: address, reachability, one writer at a time, a sqlite file that is born complete."""

from __future__ import annotations

import fcntl
import os
import socket
import sqlite3
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from urllib.parse import urlsplit

from benchmarks.errors import UserError
from benchmarks.outbox import unwritable

RESULTS = Path(__file__).resolve().parents[1] / "results"
SQLITE = "sqlite:///"
PROBE_SECONDS = 3.0
BUSY_SECONDS = 60
DATABASE_PORTS = {"postgresql": 5432, "mysql": 3306}


class UnreachableError(UserError):
    """The tracking store does not answer, or refuses what it was sent; the message gives address and reason."""


class MissingFileError(UserError):
    """A run is there, but not the file that was asked for."""


@dataclass(frozen=True)
class Stored:
    """A run as the store has it. status: MLflow's word, such as FINISHED; started, ended: milliseconds since 1970."""

    run_id: str
    experiment: str
    status: str
    tags: dict[str, str]
    params: dict[str, str]
    metrics: dict[str, float]
    started: int
    ended: int


def default_uri(results: Path = RESULTS) -> str:
    """``MLFLOW_TRACKING_URI`` where set, else the sqlite file of this checkout.

    Raises UserError for an address of a kind that MLflow 3 does not keep runs at.
    """
    uri = os.environ.get("MLFLOW_TRACKING_URI") or f"{SQLITE}{results.resolve() / 'mlflow.db'}"
    try:
        kind, _ = urlsplit(uri).scheme.partition("+")[0], urlsplit(uri).port
    except ValueError:
        kind = ""
    if kind not in ("sqlite", "http", "https", *DATABASE_PORTS) or "://" not in uri:
        raise UserError(
            f"MLFLOW_TRACKING_URI={uri!r} is no address of a tracking store; write http://host:port or sqlite:///file"
        )
    return uri


def sqlite_path(uri: str) -> Path | None:
    """The file behind a sqlite address, None for a server."""
    return Path(uri.removeprefix(SQLITE).split("?")[0]) if uri.startswith(SQLITE) else None


def with_busy_timeout(uri: str) -> str:
    """The address with a minute's patience for another process's write, instead of sqlite's five seconds."""
    return f"{uri}?timeout={BUSY_SECONDS}" if sqlite_path(uri) and "?" not in uri else uri


@contextmanager
def writer_lock(results: Path) -> Iterator[None]:
    """One process at a time; the system releases the lock of a killed process. Raises UserError where unwritable."""
    try:
        results.mkdir(parents=True, exist_ok=True)
        handle = (results / ".tracking.lock").open("w")
    except OSError as error:
        raise unwritable(results, error) from error
    with handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def shown(uri: str) -> str:
    """The address without a password."""
    parts = urlsplit(uri)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl() if parts.netloc else uri


def probe(uri: str) -> None:
    """Raises UnreachableError within seconds where nobody answers; MLflow itself would retry for minutes."""
    parts = urlsplit(uri)
    scheme = parts.scheme.split("+")[0]
    try:
        if scheme in ("http", "https"):
            _ask(f"{shown(uri).rstrip('/')}/health")
        elif scheme in DATABASE_PORTS:
            address = (parts.hostname or "localhost", parts.port or DATABASE_PORTS[scheme])
            socket.create_connection(address, timeout=PROBE_SECONDS).close()
    except (OSError, HTTPException) as error:
        raise UnreachableError(
            f"no MLflow at {shown(uri)} ({error}); start it or change MLFLOW_TRACKING_URI"
        ) from error


def _ask(address: str) -> None:
    """Any HTTP status is an answer (a proxy may want a login); silence is not."""
    try:
        urllib.request.urlopen(address, timeout=PROBE_SECONDS).close()
    except urllib.error.HTTPError as error:
        error.close()


def create_sqlite(path: Path, create_schema: Callable[[str], None]) -> None:
    """Builds the database beside its place and renames it: neither a kill nor a second process meets half a schema.

    Call it under ``writer_lock``. Write-ahead logging is a property of the file and is set here once.
    """
    if path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f"{path.name}.new")
    for leftover in path.parent.glob(f"{draft.name}*"):
        leftover.unlink()
    create_schema(f"{SQLITE}{draft}")
    with closing(sqlite3.connect(draft)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
    draft.rename(path)
