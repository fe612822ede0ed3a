"""`--list`: what there is, what can run here, and why not."""

import json
from pathlib import Path

import pytest

from common.errors import UsageError
from suite import plugins, rules
from suite.listing import listing
from suite.places import data_dir
from tests.suite.commands import cache

pytestmark = pytest.mark.side_by_side

KINDS = {
    "workloads": plugins.names("reference_models"),
    "backends": plugins.names("suite.backends"),
    "optimizations": plugins.names("suite.optimizations"),
    "scenarios": plugins.names("scenarios"),
    "profiles": rules.names(),
}


def folder(dataset: str) -> str:
    return str(data_dir("", {}, cache(), dataset))


def test_everything_is_listed_and_runs_here() -> None:
    found = json.loads(listing(True, folder))
    assert {kind: tuple(entry["name"] for entry in entries) for kind, entries in found.items()} == KINDS
    assert all(entry["runs_here"] and entry["about"] for entries in found.values() for entry in entries)
    about = {entry["name"]: entry["about"] for entry in found["backends"]}
    assert [name for name in about if "can never count" in about[name]] == ["null", "simulated"]
    assert about["onnxruntime"].endswith("on cpu")
    optimizations = {entry["name"]: entry["about"] for entry in found["optimizations"]}
    assert (
        "mode=eager|compile" in optimizations["fuse"]
        and "bits=4|8" in optimizations["cluster"]
        and "keep=NUMBER/NUMBER" in optimizations["prune"]
    )


def test_what_cannot_run_is_marked_with_the_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Every backend of the folder can run here, so one that cannot has to be played.
    monkeypatch.setattr("suite.prepare.call", _refusing)
    text = listing(False, lambda dataset: str(tmp_path))
    assert "  - fashion-resnet" in text and "Run: python -m tools.fetch_data fashion-mnist" in text
    assert "  - onnxruntime" in text and "fastnet is not installed" in text
    assert text.endswith("- cannot run here, for the reason given")


def _refusing(task: str, job: object, *arguments: object, **more: object) -> object:
    raise UsageError("fastnet is not installed. Run: pip install fastnet")
