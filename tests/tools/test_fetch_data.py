"""Fetching: every source, every way in which one fails, and what the cache holds afterwards."""

import fcntl
import gzip
import hashlib
import http.server
import os
import random
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from common.errors import TandemError
from reference_models.datasets import fashion_mnist
from reference_models.datasets.fashion_mnist import DataFile
from tools.fetch_data import Limits, Places, command, fetch

pytestmark = pytest.mark.side_by_side

PROJECT = Path(__file__).parents[2]

# Noise does not shrink, so a part of the .gz is a part of the content.
CONTENT = {"images": random.Random(1).randbytes(200_000), "labels": bytes(range(100)), "more": b"training"}
LIMITS = Limits(silence_s=1, transfer_s=5, command_s=60, lock_s=5)


def tiny_dataset(content: dict[str, bytes]) -> SimpleNamespace:
    """Returns a dataset of small files that is read by the same code as Fashion-MNIST."""
    files = {name: DataFile(name, hashlib.sha256(data).hexdigest(), len(data)) for name, data in content.items()}
    return SimpleNamespace(
        NAME="tiny",
        FOLDER="tiny",
        FILES={"test": (files["images"], files["labels"]), "train": (files["more"],)},
        read_file=fashion_mnist.read_file,
    )


TINY = tiny_dataset(CONTENT)


def packed(name: str) -> bytes:
    return gzip.compress(CONTENT[name], mtime=0)


def fill(folder: Path, *, gz: bool = True, **changed: bytes) -> Path:
    """Writes the test files into a folder, some of them with other content."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("images", "labels"):
        data = changed.get(name, CONTENT[name])
        (folder / f"{name}.gz" if gz else folder / name).write_bytes(gzip.compress(data) if gz else data)
    return folder


def places(
    tmp_path: Path, *, given: Path | None = None, upstream: str | None = None, package: str | None = None
) -> Places:
    return Places(given, tmp_path / "system", upstream, package)


def fetched(target: Path, where: Places, *, split: str = "test", limits: Limits = LIMITS) -> list[str]:
    """Fetches the tiny dataset and returns what was said."""
    said: list[str] = []
    fetch(TINY, split, target, where, said.append, limits)
    return said


def assert_whole(target: Path) -> None:
    for file in TINY.FILES["test"]:
        assert TINY.read_file(target, file) == CONTENT[file.name]
    assert {path.name for path in target.iterdir()} <= {"images.gz", "labels.gz", ".lock"}


class Web(http.server.ThreadingHTTPServer):
    """Serves files with ranges, and misbehaves on demand."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files = {f"/{name}.gz": packed(name) for name in CONTENT}
        self.asked: list[tuple[str, str | None]] = []
        self.sent_bytes = 0
        self.cut_after: int | None = None
        self.silent = threading.Event()
        self.ranges = True
        self.delay_s = 0.0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(http.server.BaseHTTPRequestHandler):
    server: Web

    def do_GET(self) -> None:
        asked = self.headers.get("Range")
        self.server.asked.append((self.path, asked))
        body = self.server.files.get(self.path)
        if body is None:
            return self.send_error(404)
        start = int(asked.removeprefix("bytes=").rstrip("-")) if asked and self.server.ranges else 0
        if start >= len(body):
            return self.send_error(416)
        time.sleep(self.server.delay_s)
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(body) - start))
        self.end_headers()
        rest = body[start : None if self.server.cut_after is None else start + self.server.cut_after]
        self.server.sent_bytes += len(rest)
        self.wfile.write(rest)
        self.wfile.flush()
        if self.server.silent.is_set():
            time.sleep(3)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def web() -> Iterator[Web]:
    with Web() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("gz", [True, False])
def test_takes_a_given_directory_packed_or_not(tmp_path: Path, gz: bool) -> None:
    given = fill(tmp_path / "given", gz=gz)
    said = fetched(tmp_path / "cache", places(tmp_path, given=given))
    assert said == [f"tiny: directory {given}: 2 of 2 files, verified"]
    assert_whole(tmp_path / "cache")


def test_what_is_in_the_cache_is_said_in_one_line(tmp_path: Path) -> None:
    target = fill(tmp_path / "cache")
    assert fetched(target, places(tmp_path)) == [f"tiny: cache {target}: 2 of 2 files, verified"]


def test_what_the_cache_has_is_not_written_again(tmp_path: Path) -> None:
    target, given = fill(tmp_path / "cache"), fill(tmp_path / "given")
    before = [path.stat().st_ino for path in sorted(target.iterdir())]
    fetched(target, places(tmp_path, given=given))
    assert [path.stat().st_ino for path in sorted(target.iterdir())] == before


def test_goes_on_to_the_next_source_with_a_line_for_each(tmp_path: Path, web: Web) -> None:
    empty, system = tmp_path / "given", fill(tmp_path / "system")
    empty.mkdir()
    said = fetched(tmp_path / "cache", places(tmp_path, given=empty, upstream=web.url))
    assert said == [
        f"tiny: directory {empty}: no images, no labels",
        f"tiny: cache {tmp_path / 'cache'}: no such directory",
        f"tiny: system {system}: 2 of 2 files, verified",
    ]
    assert web.asked == []


def test_a_corrupt_file_is_named_with_both_hashes_and_had_elsewhere(tmp_path: Path) -> None:
    wrong = b"other labels"
    given = fill(tmp_path / "given", labels=wrong)
    fill(tmp_path / "system")
    first, *_ = fetched(tmp_path / "cache", places(tmp_path, given=given))
    assert "1 of 2 files, verified" in first
    assert f"{given / 'labels.gz'} is corrupt" in first
    assert TINY.FILES["test"][1].sha256 in first and hashlib.sha256(wrong).hexdigest() in first
    assert_whole(tmp_path / "cache")


@pytest.mark.parametrize(
    "spoiled",
    [b"no gzip", packed("images")[:1000], gzip.compress(b"other", mtime=0)],
    ids=["no gzip", "cut off", "other content"],
)
def test_a_spoiled_file_in_the_cache_is_replaced(tmp_path: Path, web: Web, spoiled: bytes) -> None:
    target = fill(tmp_path / "cache")
    (target / "images.gz").write_bytes(spoiled)
    said = fetched(target, places(tmp_path, upstream=web.url))
    assert str(target / "images.gz") in said[0]
    assert [path for path, _ in web.asked] == ["/images.gz"]
    assert_whole(target)


def test_fetches_only_what_is_asked_for(tmp_path: Path, web: Web) -> None:
    fetched(tmp_path / "cache", places(tmp_path, upstream=web.url))
    assert [path for path, _ in web.asked] == ["/images.gz", "/labels.gz"]
    fetched(tmp_path / "cache", places(tmp_path, upstream=web.url), split="all")
    assert [path for path, _ in web.asked[2:]] == ["/more.gz"]


@pytest.mark.parametrize("ranges", [True, False])
def test_goes_on_from_what_an_interrupted_download_left(tmp_path: Path, web: Web, ranges: bool) -> None:
    target, where = tmp_path / "cache", places(tmp_path, upstream=web.url)
    web.cut_after = 150_000
    with pytest.raises(TandemError, match=r"images.gz ended after 150,000 of 200,\d+ bytes; what came is kept"):
        fetched(target, where)
    assert not (target / "images.gz").exists()
    web.cut_after, web.sent_bytes, web.ranges = None, 0, ranges
    fetched(target, where)
    assert web.asked[1] == ("/images.gz", "bytes=150000-")
    assert web.sent_bytes == len(packed("images")) + len(packed("labels")) - (150_000 if ranges else 0)
    assert_whole(target)


@pytest.mark.parametrize("size", [1000, 300_000])
def test_a_kept_part_of_something_else_is_never_trusted(tmp_path: Path, web: Web, size: int) -> None:
    partial = tmp_path / "cache" / ".partial" / "images.gz"
    partial.parent.mkdir(parents=True)
    partial.write_bytes(bytes(size))
    fetched(tmp_path / "cache", places(tmp_path, upstream=web.url))
    assert [asked for path, asked in web.asked if path == "/images.gz"] == [f"bytes={size}-", None]
    assert_whole(tmp_path / "cache")


def test_a_kept_whole_file_is_taken(tmp_path: Path, web: Web) -> None:
    partial = tmp_path / "cache" / ".partial" / "images.gz"
    partial.parent.mkdir(parents=True)
    partial.write_bytes(packed("images"))
    fetched(tmp_path / "cache", places(tmp_path, upstream=web.url))
    assert web.sent_bytes == len(packed("labels"))
    assert_whole(tmp_path / "cache")


def test_upstream_that_serves_something_else_is_refused(tmp_path: Path, web: Web) -> None:
    web.files["/images.gz"] = gzip.compress(b"something else")
    with pytest.raises(TandemError, match=f"images.gz is corrupt.*{hashlib.sha256(b'something else').hexdigest()}"):
        fetched(tmp_path / "cache", places(tmp_path, upstream=web.url))
    assert {path.name for path in (tmp_path / "cache").iterdir()} == {".lock"}


@pytest.mark.parametrize(
    ("name", "body", "reason"),
    [
        ("/images.gz", None, "images.gz: the server answers 404"),
        ("/images.gz", bytes(500_000), "images.gz: the server sends more than the file can hold"),
    ],
)
def test_upstream_that_lacks_a_file_or_never_ends(
    tmp_path: Path, web: Web, name: str, body: bytes | None, reason: str
) -> None:
    del web.files[name]
    if body:
        web.files[name] = body
    with pytest.raises(TandemError, match=reason):
        fetched(tmp_path / "cache", places(tmp_path, upstream=web.url))


def test_a_silent_server_is_given_up_and_what_came_is_kept(tmp_path: Path, web: Web) -> None:
    web.silent.set()
    web.cut_after = 1000
    with pytest.raises(TandemError, match=r"images.gz stopped after 1,000 bytes \(.*timed out\)"):
        fetched(tmp_path / "cache", places(tmp_path, upstream=web.url), limits=Limits(silence_s=0.2))
    assert (tmp_path / "cache" / ".partial" / "images.gz").stat().st_size == 1000


def test_when_all_fail_one_message_says_what_was_tried_and_where_to_put_the_files(tmp_path: Path, web: Web) -> None:
    web.server_close()
    given, target = tmp_path / "given", tmp_path / "cache"
    with pytest.raises(TandemError) as failure:
        fetched(target, places(tmp_path, given=given, upstream=web.url))
    assert failure.value.exit_code == 1
    lines = str(failure.value).splitlines()
    assert lines[0] == "tiny: no source has images.gz, labels.gz. Tried:"
    assert lines[1:4] == [
        f"  directory {given}: no such directory",
        f"  cache {target}: no such directory",
        f"  system {tmp_path / 'system'}: no such directory",
    ]
    assert lines[4].startswith(f"  upstream {web.url}: no connection for images.gz (")
    assert f"by hand into {target}" in lines[5]


def child(code: str, *arguments: object) -> subprocess.Popen[str]:
    """Starts another process that has this module's names."""
    lines = f"import sys; from tests.tools.test_fetch_data import *\n{code}"
    words = [sys.executable, "-c", lines, *map(str, arguments)]
    return subprocess.Popen(words, cwd=PROJECT, stderr=subprocess.PIPE, text=True)


FETCH = "fetched(Path(sys.argv[1]), places(Path(sys.argv[1]), upstream=sys.argv[2]))"


def test_two_processes_at_once_download_once(tmp_path: Path, web: Web) -> None:
    web.delay_s = 0.5
    children = [child(FETCH, tmp_path / "cache", web.url) for _ in range(2)]
    assert [one.communicate(timeout=30)[1] for one in children] == ["", ""]
    assert sorted(path for path, _ in web.asked) == ["/images.gz", "/labels.gz"]
    assert_whole(tmp_path / "cache")


def test_waiting_for_another_process_ends(tmp_path: Path, web: Web) -> None:
    target = tmp_path / "cache"
    target.mkdir()
    with (target / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(TandemError, match="Another process has been fetching into .* let it finish or end it"):
            fetched(target, places(tmp_path, upstream=web.url), limits=Limits(lock_s=0.2))
    assert web.asked == []


def test_what_is_in_the_cache_needs_no_waiting(tmp_path: Path) -> None:
    target = fill(tmp_path / "cache")
    with (target / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        fetched(target, places(tmp_path), limits=Limits(lock_s=0))


@pytest.mark.parametrize("source", ["given", "upstream"])
def test_no_room_is_one_sentence_and_leaves_no_part_behind(tmp_path: Path, web: Web, source: str) -> None:
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))"
    where = fill(tmp_path / "given") if source == "given" else web.url
    how = "given=Path(sys.argv[2])" if source == "given" else "upstream=sys.argv[2]"
    full = child(f"{limit}\nfetched(Path(sys.argv[1]), places(Path(sys.argv[1]), {how}))", tmp_path / "cache", where)
    last = full.communicate(timeout=30)[1].splitlines()[-1]
    assert "TandemError: Cannot write to" in last and "File too large; make room there" in last
    assert not list((tmp_path / "cache").glob("*images*"))


def test_a_cache_that_cannot_be_written_is_one_sentence(tmp_path: Path, web: Web) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(TandemError, match=r"Cannot write to .*: Not a directory.*--cache-dir"):
        fetched(tmp_path / "file" / "cache", places(tmp_path, upstream=web.url))


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Returns an own package repository, which apt reads instead of the machine's, and whose index it has not yet."""
    if not (shutil.which("apt-get") and shutil.which("dpkg-deb")):
        pytest.skip("no apt on this machine")
    folder, apt = tmp_path / "repository", tmp_path / "apt"
    for name in ("etc/apt", "state/lists/partial", "cache/archives/partial"):
        (apt / name).mkdir(parents=True)
    (apt / "etc/apt/sources.list").write_text(f"deb [trusted=yes] file:{folder} ./\n")
    (apt / "status").touch()
    (apt / "apt.conf").write_text(
        f'Dir "{apt}/";\nDir::State "state";\nDir::State::status "{apt}/status";\nDir::Cache "cache";\n'
    )
    monkeypatch.setenv("APT_CONFIG", str(apt / "apt.conf"))
    folder.mkdir()
    (folder / "Packages").touch()
    return folder


def publish(repository: Path, package: str) -> None:
    """Puts a package with the test files into the repository."""
    content = repository.parent / "content"
    fill(content / "usr/share/datasets/tiny")
    (content / "DEBIAN").mkdir()
    control = f"Package: {package}\nVersion: 1\nArchitecture: all\nMaintainer: tests\nDescription: tests\n"
    (content / "DEBIAN/control").write_text(control)
    archive = repository / f"{package}.deb"
    subprocess.run(["dpkg-deb", "--build", content, archive], check=True, capture_output=True)
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    entry = f"{control}Filename: ./{archive.name}\nSize: {archive.stat().st_size}\nSHA256: {digest}\n"
    (repository / "Packages").write_text(entry)


def test_takes_a_package_where_apt_has_no_index_yet(tmp_path: Path, repository: Path) -> None:
    publish(repository, "dataset-tiny")
    said = fetched(tmp_path / "cache", places(tmp_path, package="dataset-tiny"))
    assert said[-1] == "tiny: Debian package dataset-tiny: 2 of 2 files, verified"
    assert_whole(tmp_path / "cache")


def test_says_what_apt_says_of_a_package_that_it_does_not_know(tmp_path: Path, repository: Path) -> None:
    with pytest.raises(TandemError, match="Debian package dataset-tiny: apt-get: .*dataset-tiny"):
        fetched(tmp_path / "cache", places(tmp_path, package="dataset-tiny"))
    assert {path.name for path in (tmp_path / "cache").iterdir()} == {".lock"}


def test_says_that_a_machine_has_no_apt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(TandemError, match="Debian package dataset-tiny: this machine has no apt-get"):
        fetched(tmp_path / "cache", places(tmp_path, package="dataset-tiny"))


def test_a_command_that_never_ends_is_ended(tmp_path: Path) -> None:
    assert command(["sleep", "60"], tmp_path, 0.1) == "sleep took longer than 0 s"


def run_tool(*words: object, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tools.fetch_data", *map(str, words)],
        cwd=PROJECT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_the_command_reads_tandem_data_and_fills_the_cache(tmp_path: Path, data_root: Path) -> None:
    given = data_root / "fashion-mnist"
    done = run_tool("fashion_mnist", "--cache-dir", tmp_path, TANDEM_DATA=str(given))
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr == f"fashion-mnist: directory {given}: 2 of 2 files, verified\n"
    done = run_tool("fashion-mnist", TANDEM_DATA="", TANDEM_CACHE=str(tmp_path))
    assert done.stderr == f"fashion-mnist: cache {tmp_path}/data/fashion-mnist: 2 of 2 files, verified\n"


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["fashion-mnits"], "Unknown dataset 'fashion-mnits'. Did you mean 'fashion-mnist'?"),
        (["os.path"], "Unknown dataset 'os.path'."),
        ([], "Name one dataset: python -m tools.fetch_data fashion-mnist"),
        (["fashion-mnist", "--split", "tset"], "Did you mean 'test'?"),
    ],
)
def test_a_wrong_command_is_one_sentence_and_exit_code_2(words: list[str], sentence: str) -> None:
    done = run_tool(*words)
    assert done.returncode == 2
    assert sentence in done.stderr and done.stderr.count("\n") == 1
