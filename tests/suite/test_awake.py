"""Cores that are kept awake: who may ask, what the kernel is told and for how long, and what serves Server then."""

import json
import os
import time
from pathlib import Path

import pytest

from common.errors import RunFailed, UsageError
from suite import awake, search
from suite.search import Terms
from suite.variant import Requested
from tests.suite.commands import only_record, start
from tests.suite.subjects import subject

OFFLINE = Terms("offline", 1, None, None, inline=False)
SERVER = Terms("server", 1, 15, 0.5, inline=False)


@pytest.fixture
def device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file in place of the kernel's device, which takes what is written to it."""
    path = tmp_path / "latency"
    path.write_bytes(b"")
    monkeypatch.setattr(awake, "DEVICE", path)
    return path


@pytest.fixture
def no_device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(awake, "DEVICE", tmp_path / "none")


def open_files(path: Path) -> int:
    return sum(os.path.realpath(f"/proc/self/fd/{one}") == str(path) for one in os.listdir("/proc/self/fd"))


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="what is open is read from Linux's /proc")
def test_the_kernel_is_asked_for_no_delay_as_long_as_the_block_runs(device: Path) -> None:
    with awake.awake(True):
        assert device.read_bytes() == bytes(4)
        assert open_files(device) == 1
    assert open_files(device) == 0


def test_who_does_not_want_it_asks_for_nothing(no_device: None) -> None:
    with awake.awake(False):
        pass


def test_a_kernel_that_does_not_let_us_fails_the_run_in_a_sentence(no_device: None) -> None:
    with pytest.raises(RunFailed, match="The cores cannot be kept awake: .*No such file"), awake.awake(True):
        pass


def test_the_words_of_the_flag(device: Path) -> None:
    assert [awake.requested(word) for word in ("auto", " ON ", "off")] == ["auto", "on", "off"]
    with pytest.raises(UsageError, match="write auto, on or off"):
        awake.requested("yes")


def test_asking_for_what_this_user_may_not_is_refused_with_what_to_do(no_device: None) -> None:
    assert awake.requested("auto") == "auto"
    with pytest.raises(UsageError, match="may not write .*run it as root, .*or use --keep-awake off"):
        awake.requested("on")


@pytest.mark.parametrize(
    ("terms", "asked", "kept"),
    [(SERVER, "auto", True), (SERVER, "off", False), (OFFLINE, "auto", False), (OFFLINE, "on", True)],
)
def test_server_alone_keeps_the_cores_awake_by_itself(
    terms: Terms, asked: str, kept: bool, device: Path, data_root: Path
) -> None:
    requested = Requested(16, 0, 1, 1, "cpu", awake=asked)
    serving, _ = search.resolve(subject("null", data_root), requested, terms)
    assert serving.awake is kept
    assert bool(device.read_bytes()) is kept


def test_server_goes_without_where_it_may_not(no_device: None, data_root: Path) -> None:
    serving, _ = search.resolve(subject("null", data_root), Requested(16, 0, 1, 1, "cpu"), SERVER)
    assert not serving.awake


@pytest.mark.skipif(not awake.possible(), reason=f"this user may not write {awake.DEVICE}")
def test_a_server_run_keeps_them_awake_and_says_so(tmp_path: Path) -> None:
    words = ("--backend=null", "--scenario=server", "--mode=performance", "--target-qps=500")
    words += ("--max-batch=64", "--sessions=1", "--threads=1")
    run = start(*words, f"--results-dir={tmp_path}", "--json")
    asked = set()
    while run.process.poll() is None:
        with awake.DEVICE.open("rb") as kernel:
            asked.add(int.from_bytes(kernel.read(4), "little"))
        time.sleep(0.05)
    ended = run.end(60)
    assert ended.code == 0, ended.stderr
    assert 0 in asked
    _, record = only_record(tmp_path)
    assert record["serving"]["awake"] is True
    assert json.loads(ended.stdout)["serving"]["awake"] is True
