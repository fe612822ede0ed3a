"""Fetches a dataset into the cache, verified: `python -m tools.fetch_data fashion-mnist`.

Sources are tried in this order, each with its own line on stderr: the directory given by --from or TANDEM_DATA; the
cache; /usr/share/datasets/FOLDER; the dataset's own upstream over HTTPS; Debian's package dataset-FOLDER, unpacked
without root; FOLDER is what the dataset's module says. A file is believed only when its content has the digest that the
module pins, wherever it comes from. Nothing else in this project downloads.
"""

import contextlib
import fcntl
import gzip
import http.client
import os
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Protocol, cast

from absl import flags

from common.errors import TandemError, UsageError
from common.files import write_atomically
from common.flags import new_flags, run
from common.names import normal, unknown
from suite import plugins
from suite.places import cache_dir

if TYPE_CHECKING:
    from reference_models.datasets.fashion_mnist import DataFile

FLAGS = new_flags()
SPLIT = flags.DEFINE_enum("split", "test", ["test", "train", "all"], "what to fetch", flag_values=FLAGS)
FROM = flags.DEFINE_string("from", "", "directory to look in first (default: $TANDEM_DATA)", flag_values=FLAGS)
CACHE = flags.DEFINE_string("cache_dir", "", "the cache (default: $TANDEM_CACHE or ~/.cache/tandem)", flag_values=FLAGS)

SYSTEM = Path("/usr/share/datasets")

CHUNK_BYTES = 1 << 16
# What gzip adds to content that does not shrink is less than this for any of our files.
GZIP_SLACK_BYTES = 1 << 16


class Dataset(Protocol):
    """What this tool uses of a dataset's module: `FILES` maps a split to its files, which `UPSTREAM` serves.

    `FOLDER` is where they lie, in the cache and elsewhere: another dataset may be made of the same.
    """

    NAME: str
    FOLDER: str
    UPSTREAM: str
    FILES: dict[str, tuple["DataFile", ...]]

    def read_file(self, folder: Path, file: "DataFile") -> bytes:
        """Returns a file's verified content; raises UsageError."""
        ...


class Unavailable(Exception):
    """A source cannot give what is asked; the text says why, in a few words."""


@dataclass(frozen=True)
class Limits:
    """How long is waited, in seconds: for a silent server, one file, one command of apt, another process's fetch."""

    silence_s: float = 10
    transfer_s: float = 600
    command_s: float = 120
    lock_s: float = 900


@dataclass(frozen=True)
class Places:
    """Where a dataset may be found beside the cache; None where there is no such place."""

    given: Path | None
    system: Path
    upstream: str | None
    package: str | None


@dataclass(frozen=True)
class Source:
    """Where files may come from: `open` yields a folder with those that it has, or raises Unavailable."""

    name: str
    open: Callable[[Sequence["DataFile"]], AbstractContextManager[Path]]


@dataclass
class Fetch:
    """A fetch of files of a dataset into the folder `target`: what is still missing, and what was tried."""

    dataset: Dataset
    target: Path
    missing: list["DataFile"]
    say: Callable[[str], None]
    tried: list[str] = field(default_factory=list)

    def attempt(self, source: Source) -> None:
        """Takes from a source what it has of what is missing, and says how that went."""
        if not self.missing:
            return
        try:
            with source.open(self.missing) as folder:
                news = self.take(folder)
        except Unavailable as error:
            news = str(error)
        self.tried.append(f"{source.name}: {news}")
        self.say(f"{self.dataset.NAME}: {self.tried[-1]}")

    def take(self, folder: Path) -> str:
        """Puts what `folder` has of the missing files into the cache, and returns how that went."""
        wanted = self.missing
        here = [file for file in wanted if any((folder / name).is_file() for name in (file.name, f"{file.name}.gz"))]
        reasons = {file: self.refused(folder, file) for file in here}
        good = [file for file in here if not reasons[file]]
        for file in good:
            if folder != self.target and self.refused(self.target, file):
                self.store(folder, file)
        self.missing = [file for file in wanted if file not in good]
        news = [f"{len(good)} of {len(wanted)} files, verified"] if good else []
        news += [reason for reason in reasons.values() if reason]
        absent = [file.name for file in wanted if file not in here]
        return "; ".join(news + ([f"no {', no '.join(absent)}"] if absent else []))

    def store(self, folder: Path, file: "DataFile") -> None:
        """Writes a verified file of `folder` to the cache as .gz."""
        packed = folder / f"{file.name}.gz"
        data = packed.read_bytes() if packed.is_file() else gzip.compress((folder / file.name).read_bytes(), 6)
        with writing(self.target):
            write_atomically(self.target / packed.name, data)

    def refused(self, folder: Path, file: "DataFile") -> str | None:
        """Returns why what `folder` holds is not that file, or None when it is."""
        try:
            self.dataset.read_file(folder, file)
        except UsageError as error:
            # The last sentence tells people to run this command.
            return str(error).rpartition(". ")[0]
        except OSError as error:
            return f"{folder} cannot be read ({error.strerror})"
        return None


def fetch(
    dataset: Dataset,
    split: str,
    target: Path,
    places: Places,
    say: Callable[[str], None],
    limits: Limits = Limits(),
) -> None:
    """Brings a split (or "all") into the folder `target`; raises TandemError when no source has it."""
    splits = dataset.FILES if split == "all" else [split]
    job = Fetch(dataset, target, [file for name in splits for file in dataset.FILES[name]], say)
    if places.given:
        job.attempt(folder_source("directory", places.given))
    job.attempt(folder_source("cache", target))
    job.attempt(folder_source("system", places.system))
    if job.missing:
        with locked(target, limits.lock_s, say):
            # Another process may have brought them meanwhile.
            job.missing = [file for file in job.missing if job.refused(target, file)]
            if places.upstream:
                job.attempt(upstream_source(job, places.upstream, limits))
            if places.package:
                job.attempt(package_source(job, places.package, limits.command_s))
    if job.missing:
        raise TandemError(failure(job))


def failure(job: Fetch) -> str:
    """Returns what is missing, what was tried for it, and what a person can do."""
    names = ", ".join(f"{file.name}.gz" for file in job.missing)
    tried = "".join(f"\n  {line}" for line in job.tried)
    return (
        f"{job.dataset.NAME}: no source has {names}. Tried:{tried}\n"
        f"Put the files by hand into {job.target} and run this again, or name a directory that has them with --from."
    )


@contextlib.contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Tells a failure to write into `folder` in one sentence."""
    try:
        yield
    except OSError as error:
        raise TandemError(
            f"Cannot write to {folder}: {error.strerror or error}; make room there, mend its permissions, "
            "or name another place with --cache-dir."
        ) from error


@contextlib.contextmanager
def locked(folder: Path, wait_s: float, say: Callable[[str], None]) -> Iterator[None]:
    """Holds the one lock of `folder`; raises TandemError when another process keeps it longer than `wait_s`."""
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / ".lock").open("w")
    with lock:
        deadline, told = time.monotonic() + wait_s, False
        while not acquired(lock):
            if time.monotonic() > deadline:
                raise TandemError(
                    f"Another process has been fetching into {folder} for over {wait_s:.0f} s; "
                    "let it finish or end it, then run this again."
                )
            if not told:
                say(f"another process is fetching into {folder}; waiting for it, {wait_s:.0f} s at most")
                told = True
            time.sleep(0.1)
        yield


def acquired(lock: IO[str]) -> bool:
    """Tries to take the lock, which ends with the file or the process, and returns whether it did."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        raise TandemError(
            f"The file system of {lock.name} has no locks ({error.strerror}); name a cache elsewhere with --cache-dir."
        ) from error
    return True


def folder_source(kind: str, folder: Path) -> Source:
    """Returns a folder as a source."""

    @contextlib.contextmanager
    def opened(_files: Sequence["DataFile"]) -> Iterator[Path]:
        if not os.path.isdir(folder):
            raise Unavailable("no such directory")
        if not os.access(folder, os.R_OK | os.X_OK):
            raise Unavailable("may not be read")
        yield folder

    return Source(f"{kind} {folder}", opened)


def upstream_source(job: Fetch, url: str, limits: Limits) -> Source:
    """Returns a web folder as a source. What came of a file is kept, so that the next try goes on from there."""

    @contextlib.contextmanager
    def opened(files: Sequence["DataFile"]) -> Iterator[Path]:
        folder = job.target / ".partial"
        with writing(folder):
            folder.mkdir(exist_ok=True)
        try:
            for file in files:
                download(job, f"{url}/{file.name}.gz", file, folder, limits)
            names = [f"{file.name}.gz" for file in files]
            yield folder
            for name in names:
                (folder / name).unlink()
        finally:
            # Parts of other files may lie there.
            with contextlib.suppress(OSError):
                folder.rmdir()

    return Source(f"upstream {url}", opened)


def download(job: Fetch, url: str, file: "DataFile", folder: Path, limits: Limits) -> None:
    """Brings one file into `folder` and verifies it; raises Unavailable."""
    path = folder / f"{file.name}.gz"
    resumed = path.exists()
    transfer(url, path, file.size_bytes + GZIP_SLACK_BYTES, limits)
    reason = job.refused(folder, file)
    if reason:
        path.unlink()
        if not resumed:
            raise Unavailable(reason)
        # What was kept was no part of this file.
        download(job, url, file, folder, limits)


def transfer(url: str, path: Path, most_bytes: int, limits: Limits) -> None:
    """Appends to `path` what it lacks of `url`; raises Unavailable when that does not come whole and in time."""
    kept = path.stat().st_size if path.exists() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={kept}-"} if kept else {})
    try:
        with urllib.request.urlopen(request, timeout=limits.silence_s) as response:
            start = kept if response.status == http.HTTPStatus.PARTIAL_CONTENT else 0
            chunks = received(response, path.name, most_bytes - start, limits.transfer_s)
            with writing(path.parent), path.open("ab" if start else "wb") as out:
                for chunk in chunks:
                    out.write(chunk)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code != http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            raise Unavailable(f"{path.name}: the server answers {error.code} {error.reason}") from error
        # All of it is here, or more than that: the digest decides.
    except (OSError, http.client.HTTPException) as error:
        raise Unavailable(f"no connection for {path.name} ({getattr(error, 'reason', error)})") from error


def received(response: http.client.HTTPResponse, name: str, most_bytes: int, transfer_s: float) -> Iterator[bytes]:
    """Yields the body as it comes; raises Unavailable when it stops early, takes too long or is too long."""
    deadline, count, expected = time.monotonic() + transfer_s, 0, response.length
    with progress(name, expected) as advance:
        try:
            while chunk := response.read1(CHUNK_BYTES):
                count += len(chunk)
                if count > most_bytes:
                    raise Unavailable(f"{name}: the server sends more than the file can hold")
                if time.monotonic() > deadline:
                    raise Unavailable(f"{name} took longer than {transfer_s:.0f} s; what came is kept")
                advance(len(chunk))
                yield chunk
        except (OSError, http.client.HTTPException) as error:
            raise Unavailable(f"{name} stopped after {count:,} bytes ({error}); what came is kept") from error
    if expected is not None and count < expected:
        raise Unavailable(f"{name} ended after {count:,} of {expected:,} bytes; what came is kept")


def package_source(job: Fetch, package: str, command_s: float) -> Source:
    """Returns a Debian package as a source; needs no root, except where apt has no package index yet."""

    @contextlib.contextmanager
    def opened(_files: Sequence["DataFile"]) -> Iterator[Path]:
        for tool in ("apt-get", "dpkg-deb"):
            if not shutil.which(tool):
                raise Unavailable(f"this machine has no {tool}")
        folder = job.target / ".package"
        with writing(job.target):
            # A fetch that was killed may have left it.
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
        try:
            with progress(f"apt-get download {package}", None):
                download_package(package, folder, command_s)
                # This runs no script of the package and writes below `unpacked` alone.
                archives = [str(path) for path in folder.glob("*.deb")]
                problem = command(["dpkg-deb", "-x", *archives, "unpacked"], folder, command_s)
            if problem:
                raise Unavailable(problem)
            yield folder / "unpacked" / SYSTEM.relative_to("/") / job.dataset.FOLDER
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    return Source(f"Debian package {package}", opened)


def download_package(package: str, folder: Path, command_s: float) -> None:
    """Downloads a package into `folder`, bringing apt's index up to date where that helps and is allowed."""
    apt = ["apt-get", "-q", "-o", "Acquire::Retries=0", "-o", "Acquire::http::Timeout=20"]
    problem = command([*apt, "download", package], folder, command_s)
    if not problem:
        return
    outdated = command([*apt, "update"], folder, command_s)
    if outdated and os.geteuid() != 0:
        raise Unavailable(f"{problem}; apt's index may be missing or old, and only root may renew it: apt-get update")
    problem = outdated or command([*apt, "download", package], folder, command_s)
    if problem:
        raise Unavailable(problem)


def command(words: Sequence[str], folder: Path, limit_s: float) -> str | None:
    """Runs a command in `folder` and returns its complaint, or None when it succeeded."""
    try:
        done = subprocess.run(
            words, cwd=folder, capture_output=True, text=True, timeout=limit_s, stdin=subprocess.DEVNULL, check=False
        )
    except subprocess.TimeoutExpired:
        return f"{words[0]} took longer than {limit_s:.0f} s"
    if done.returncode == 0:
        return None
    complaints = [line.removeprefix("E: ") for line in done.stderr.splitlines() if line.startswith("E: ")]
    return f"{words[0]}: {(complaints or done.stderr.splitlines() or [f'exit code {done.returncode}'])[-1]}"


@contextlib.contextmanager
def progress(label: str, total: int | None) -> Iterator[Callable[[int], None]]:
    """Shows a bar on a terminal while the block runs, and nothing elsewhere; yields what moves it on."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(label, total=total)
        yield lambda amount: bar.advance(task, amount)


def main(arguments: list[str]) -> int:
    """Fetches the dataset that is named."""
    known = plugins.names("reference_models.datasets")
    if len(arguments) != 1:
        raise UsageError(f"Name one dataset: python -m tools.fetch_data {'|'.join(known)}")
    if normal(arguments[0]) not in known:
        # A plug-in from outside the tree has its own ways to bring its data.
        raise unknown("dataset", arguments[0], known)
    dataset = cast(Dataset, plugins.load("reference_models.datasets", "dataset", arguments[0]))
    given = FROM.value or os.environ.get("TANDEM_DATA")
    places = Places(
        given=Path(given) if given else None,
        system=SYSTEM / dataset.FOLDER,
        upstream=dataset.UPSTREAM,
        package=f"dataset-{dataset.FOLDER}",
    )
    target = cache_dir(CACHE.value, os.environ) / "data" / dataset.FOLDER
    fetch(dataset, SPLIT.value, target, places, lambda line: print(line, file=sys.stderr))
    return 0


if __name__ == "__main__":
    sys.exit(run(main, FLAGS, arguments="DATASET"))
