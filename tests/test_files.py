"""Raw files: a real server on loopback, cut connections, killed downloads, hostile archives."""

from __future__ import annotations

import hashlib
import io
import os
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from tests.file_server import Server, serving

files = import_module("benchmarks.datasets._files")
download = import_module("benchmarks.datasets._download")

BODY = bytes(range(256)) * 4000


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as server:
        server.pages["a.csv"] = BODY
        yield server


def raw_file(server: Server, manner: str = "ok", name: str = "a.csv") -> Any:
    return files.RawFile("set/a.csv", server.url(f"/{manner}/{name}"), sha256(BODY))


def left_behind(root: Path) -> list[Path]:
    return [path for path in root.rglob("*") if not path.is_dir()]


def one_line(error: pytest.ExceptionInfo[Exception]) -> str:
    message = str(error.value)
    assert "\n" not in message
    return message


def test_a_missing_file_is_downloaded_once(server: Server, tmp_path: Path) -> None:
    files.fetch([raw_file(server)], tmp_path)
    files.fetch([raw_file(server)], tmp_path)
    assert (tmp_path / "set" / "a.csv").read_bytes() == BODY
    assert left_behind(tmp_path) == [tmp_path / "set" / "a.csv"]
    assert server.asked == ["/ok/a.csv"]


@pytest.mark.parametrize(
    ("manner", "name", "reason"),
    [("ok", "absent.csv", "HTTP 404 Not Found"), ("cut", "a.csv", "connection closed 512000 bytes too early")],
)
def test_what_cannot_be_downloaded_leaves_nothing(
    server: Server, tmp_path: Path, manner: str, name: str, reason: str
) -> None:
    with pytest.raises(files.DataError) as error:
        raw_file(server, manner, name).fetch(tmp_path)
    message = one_line(error)
    assert reason in message
    assert server.url(f"/{manner}/{name}") in message
    assert str(tmp_path / "set" / "a.csv") in message
    assert left_behind(tmp_path) == []


def test_wrong_bytes_from_the_server_are_not_kept(server: Server, tmp_path: Path) -> None:
    server.pages["other.csv"] = b"other"
    with pytest.raises(files.DataError) as error:
        raw_file(server, name="other.csv").fetch(tmp_path)
    assert sha256(b"other") in one_line(error)
    assert sha256(BODY) in one_line(error)
    assert left_behind(tmp_path) == []


def test_no_network(tmp_path: Path) -> None:
    with serving() as closed:
        url = closed.url("/ok/a.csv")
    with pytest.raises(files.DataError, match="Connection refused") as error:
        files.RawFile("set/a.csv", url, sha256(BODY)).fetch(tmp_path)
    assert str(tmp_path / "set" / "a.csv") in one_line(error)
    assert url in one_line(error)
    assert list(tmp_path.iterdir()) == []


def test_a_wrong_file_is_named_with_both_checksums_and_stays(server: Server, tmp_path: Path) -> None:
    target = tmp_path / "set" / "a.csv"
    target.parent.mkdir()
    target.write_bytes(b"mine")
    with pytest.raises(files.DataError) as error:
        raw_file(server).fetch(tmp_path)
    for part in (str(target), sha256(b"mine"), sha256(BODY), "delete it"):
        assert part in one_line(error)
    assert target.read_bytes() == b"mine"
    assert server.asked == []


def test_a_root_that_cannot_be_written_is_named(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file").touch()  # a folder below a file cannot be made, not even by root
    with pytest.raises(files.DataError, match="cannot write") as error:
        raw_file(server).fetch(tmp_path / "file")
    assert str(tmp_path / "file" / "set" / "a.csv") in one_line(error)


KILLED = """
import sys
from importlib import import_module
from pathlib import Path
from typing import Any
files = import_module("benchmarks.datasets._files")
files.RawFile("set/a.csv", sys.argv[1], "").fetch(Path(sys.argv[2]))
"""


def test_a_killed_download_is_started_again(server: Server, tmp_path: Path, root: Path) -> None:
    command = [sys.executable, "-c", KILLED, server.url("/hang/a.csv"), str(tmp_path)]
    with subprocess.Popen(command, cwd=root, stderr=subprocess.DEVNULL) as process:
        assert server.half_sent.wait(20)
        wait_until(lambda: left_behind(tmp_path) != [])
        process.kill()
    target = tmp_path / "set" / "a.csv"
    assert not target.exists()
    raw_file(server).fetch(tmp_path)
    assert target.read_bytes() == BODY
    assert left_behind(tmp_path) == [target]


def test_the_file_that_another_process_is_writing_is_left_alone(tmp_path: Path) -> None:
    other = tmp_path / f".a.{os.getppid()}.part"
    other.touch()
    with download.staged(tmp_path / "a") as part:
        part.touch()
    assert sorted(path.name for path in tmp_path.iterdir()) == [other.name, "a"]


def wait_until(is_true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not is_true():
        assert time.monotonic() < deadline
        time.sleep(0.01)


MEMBERS = {"data/A/one.mat": b"1", "data/A/b/two.mat": b"22", "data/B/three.txt": b"333"}


def archive(*, extra: tuple[tarfile.TarInfo, ...] = (), members: dict[str, bytes] = MEMBERS) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for info in extra:
            tar.addfile(info, io.BytesIO(b"x" * info.size))
        for name, data in members.items():
            info = tarfile.TarInfo(f"repository-abc/{name}")
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def member(name: str, *, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.size = kind, link, 1 if kind == tarfile.REGTYPE else 0
    return info


@pytest.fixture
def folder(server: Server, tmp_path: Path) -> Any:
    good = tmp_path / "good"
    for name, data in MEMBERS.items():
        path = good / Path(name).relative_to("data")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    server.pages["set.tar.gz"] = archive()
    digest = files.folder_digest(good)
    return files.RawFolder("set", server.url("/ok/set.tar.gz"), digest, 3, "data", ("data/A", "data/B"))


def test_a_folder_is_taken_from_its_archive(server: Server, folder: Any, tmp_path: Path) -> None:
    root = tmp_path / "root"
    assert files.missing([folder], root) == ("set",)
    assert folder.fetch(root) == root / "set"
    found = {f"data/{path.relative_to(root / 'set').as_posix()}": path.read_bytes() for path in left_behind(root)}
    assert found == MEMBERS
    assert files.missing([folder], root) == ()
    folder.fetch(root)
    assert server.asked == ["/ok/set.tar.gz"]
    (root / "set" / "A" / "one.mat").write_bytes(b"9")
    with pytest.raises(files.DataError, match="3 files found, 3 expected"):
        folder.fetch(root)


def test_an_archive_cannot_write_elsewhere(server: Server, folder: Any, tmp_path: Path) -> None:
    server.pages["set.tar.gz"] = archive(
        extra=(
            member("repository-abc/data/A/../../../../evil"),
            member("repository-abc/data/C/unwanted"),
            member("repository-abc/data/A/link", kind=tarfile.SYMTYPE, link=str(tmp_path)),
            member("repository-abc/data/A/hard", kind=tarfile.LNKTYPE, link="/etc/hostname"),
        )
    )
    before = set(left_behind(tmp_path))
    target = folder.fetch(tmp_path / "root")
    assert {path.relative_to(target).as_posix() for path in set(left_behind(tmp_path)) - before} == {
        "A/one.mat",
        "A/b/two.mat",
        "B/three.txt",
    }


@pytest.mark.parametrize("keep", [0.5, 0.0])
def test_half_an_archive_is_no_folder(server: Server, folder: Any, tmp_path: Path, keep: float) -> None:
    data = archive(members={name: os.urandom(100_000) for name in MEMBERS})
    server.pages["set.tar.gz"] = data[: int(keep * len(data))] or b"<html>not an archive</html>"
    with pytest.raises(files.DataError, match="not a complete archive") as error:
        folder.fetch(tmp_path / "root")
    assert folder.url in one_line(error)
    assert left_behind(tmp_path / "root") == []


def test_a_cut_archive_is_no_folder(server: Server, folder: Any, tmp_path: Path) -> None:
    server.pages["set.tar.gz"] = archive(members={name: os.urandom(500_000) for name in MEMBERS})
    cut = replace(folder, url=server.url("/cut/set.tar.gz"))
    with pytest.raises(files.DataError, match="bytes too early"):
        cut.fetch(tmp_path / "root")
    assert left_behind(tmp_path / "root") == []


def test_the_digest_is_what_the_shell_prints(tmp_path: Path) -> None:
    for name in ("b.txt", "B.txt", "a/z", "a-/y", "a.b/x", "mit leer", ".hidden"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    shell = r"find . -type f | LC_ALL=C sort | xargs -d '\n' sha256sum | sha256sum"
    printed = subprocess.run(["bash", "-c", shell], cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    assert files.folder_digest(tmp_path) == printed.split()[0]
