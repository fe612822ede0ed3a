"""Plug-ins are found by the folder that they lie in, or by a dotted name from outside."""

import subprocess
import sys
from pathlib import Path

import pytest

from common.errors import UsageError
from suite import plugins

pytestmark = pytest.mark.side_by_side


def make_package(folder: Path, monkeypatch: pytest.MonkeyPatch, *files: str) -> str:
    name = f"plugged_{folder.name}"
    for file in ("__init__.py", *files):
        path = folder / name / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("raise RuntimeError('imported')" if "raises" in file else "")
    monkeypatch.syspath_prepend(folder)
    return name


def test_a_new_file_or_folder_is_a_plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = make_package(tmp_path, monkeypatch, "fast_one.py", "room/__init__.py", "base.py", "_shared.py")
    assert plugins.names(package) == ("fast-one", "room")
    assert plugins.load(package, "thing", "fast-one").__name__ == f"{package}.fast_one"
    assert plugins.load(package, "thing", "Fast_One").__name__ == f"{package}.fast_one"


def test_naming_imports_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = make_package(tmp_path, monkeypatch, "raises.py")
    assert plugins.names(package) == ("raises",)
    with pytest.raises(RuntimeError, match="imported"):
        plugins.load(package, "thing", "raises")


def test_ours_are_there() -> None:
    assert {"null", "simulated", "onnxruntime", "torch"} <= set(plugins.names("suite.backends"))
    assert {"fashion-resnet", "fashion-mobilenet"} <= set(plugins.names("reference_models"))
    assert "fuse" in plugins.names("suite.optimizations")


@pytest.mark.parametrize(("given", "meant"), [("onnxruntme", "onnxruntime"), ("nul", "null")])
def test_an_unknown_name_is_refused_with_the_nearest(given: str, meant: str) -> None:
    with pytest.raises(UsageError, match=f"Unknown backend '{given}'. Did you mean '{meant}'.*Available: .*torch"):
        plugins.backend(given)


def test_base_is_no_scenario() -> None:
    with pytest.raises(UsageError, match="Unknown scenario 'base'"):
        plugins.load("scenarios", "scenario", "base")


def test_a_dotted_name_is_imported_as_it_stands() -> None:
    assert plugins.backend("tests.zoo.memoising").ELIGIBLE


@pytest.mark.parametrize("name", ["no_such_vendor.backend", "suite.backends.no_such", "tests.zoo.memoising.deeper"])
def test_a_dotted_name_that_leads_nowhere_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match=f"The backend's module '{name}' cannot be imported"):
        plugins.backend(name)


@pytest.mark.parametrize("name", ["../secrets.py", ".onnxruntime", "a..b", "os.path; x"])
def test_a_path_is_no_dotted_name(name: str) -> None:
    with pytest.raises(UsageError, match="neither a name nor a module path"):
        plugins.backend(name)


def test_a_module_that_is_no_backend_is_refused_with_what_it_lacks() -> None:
    with pytest.raises(UsageError, match="'tests.zoo.counting' is no backend: it has no FORMATS, .*load"):
        plugins.backend("tests.zoo.counting")


def test_only_a_backend_may_come_from_outside() -> None:
    """A workload sets its own target, so a stranger's could be met by anything."""
    with pytest.raises(UsageError, match="Unknown workload 'tests.zoo.counting'"):
        plugins.workload("tests.zoo.counting")
    with pytest.raises(UsageError, match="Unknown optimization 'os.path'"):
        plugins.load("suite.optimizations", "optimization", "os.path")


def test_a_backend_that_raises_as_it_is_imported_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = make_package(tmp_path, monkeypatch, "raises.py")
    with pytest.raises(UsageError, match="cannot be imported .RuntimeError: imported."):
        plugins.backend(f"{name}.raises")


def test_the_sources_of_a_backend_from_outside_have_a_digest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever file of its package changes, it is another backend."""
    name = make_package(tmp_path, monkeypatch, "one.py", "other.py")
    before = plugins.source_of(f"{name}.one")
    assert before == plugins.source_of(f"{name}.one")
    (tmp_path / name / "other.py").write_text("X = 1")
    assert plugins.source_of(f"{name}.one") != before
    assert plugins.source_of("onnxruntime") is None


def test_the_registry_is_light() -> None:
    script = "import sys, suite.plugins; print(sorted({'torch', 'onnxruntime', 'mlperf_loadgen'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
