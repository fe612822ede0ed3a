"""The shape of the house: imports only point right, and what is heavy, global or loud stays in its room."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import pytest

from suite import plugins

pytestmark = pytest.mark.side_by_side

PROJECT = Path(__file__).parents[2]
ROOMS = ("tools", "suite", "scenarios", "reference_models", "accuracy_scripts", "common")

RUNTIMES = {"onnx", "onnxruntime", "onnxscript", "openvino", "tensorrt", "tensorrt_rtx", "torch", "torchao"}
RUNTIME_FILES = (
    "suite/backends/*.py",
    "suite/optimizations/*.py",
    "suite/export*.py",
    "tools/bench/large_model.py",
    "tools/reference_model.py",
)
# These are nothing without torch, and are themselves imported only where a model is built.
TORCH_FILES = ("reference_models/*/network.py", "tools/train/*.py")
# Slow to import, and needed by few.
LATE = RUNTIMES | {"matplotlib", "pycocotools", "scipy"}

# Beside the commands, which have a main.
MAY_PRINT = ("common/flags.py", "suite/progress.py", "suite/report.py")
MAY_READ_FLAGS = ("common/flags.py",)
# What a run records of its machine is read, and nothing is decided by it.
MAY_RECORD_ENVIRONMENT = ("suite/environment.py",)


@dataclass(frozen=True)
class Import:
    """One imported module, and when: `now` with the file, `late` in a function, `never` but for type checkers."""

    module: str
    line: int
    when: str


def imports(node: ast.AST, when: str = "now") -> Iterator[Import]:
    """Yields every import below a node."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            yield from (Import(alias.name, child.lineno, when) for alias in child.names)
        elif isinstance(child, ast.ImportFrom):
            yield from (Import(f"{child.module}.{alias.name}", child.lineno, when) for alias in child.names)
        if isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING":
            yield from imports(ast.Module(child.body, []), "never")
            yield from imports(ast.Module(child.orelse, []), when)
        else:
            inside = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef)
            yield from imports(child, "late" if inside and when == "now" else when)


def matches(path: str, patterns: tuple[str, ...]) -> bool:
    return any(PurePosixPath(path).match(pattern) for pattern in patterns)


def is_command(tree: ast.Module) -> bool:
    """Returns whether a module has a main of its own."""
    return any(isinstance(node, ast.If) and "__main__" in ast.unparse(node.test) for node in tree.body)


def import_faults(path: str, tree: ast.Module) -> Iterator[str]:
    own = ROOMS.index(path.partition("/")[0])
    for found in imports(tree):
        top, where = found.module.partition(".")[0], f"{path}:{found.line}"
        if top == "tests" or (top in ROOMS and ROOMS.index(top) < own):
            yield f"{where} imports {found.module}, which lies to the left of {ROOMS[own]}"
        if top == "mlperf_loadgen" and not path.startswith("scenarios/harness/"):
            yield f"{where} imports LoadGen outside scenarios/harness"
        if top in RUNTIMES and found.when != "never" and not matches(path, RUNTIME_FILES + TORCH_FILES):
            yield f"{where} imports the runtime {top}"
        if top in LATE and found.when == "now" and not matches(path, TORCH_FILES):
            yield f"{where} imports {top} outside a function"
        if top == "absl" and not (is_command(tree) or matches(path, MAY_READ_FLAGS)):
            yield f"{where} reads flags and is no command"


def other_faults(path: str, tree: ast.Module) -> Iterator[str]:
    command = is_command(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and node.id == "print" and not (command or matches(path, MAY_PRINT)):
            yield f"{path}:{node.lineno} prints and is no command"
        environment = isinstance(node, ast.Attribute) and ast.unparse(node) in ("os.environ", "os.getenv")
        if environment and not (command or matches(path, (*MAY_READ_FLAGS, *MAY_RECORD_ENVIRONMENT))):
            yield f"{path}:{node.lineno} reads the environment and is no command"


def faults(path: str, source: str) -> list[str]:
    """Returns what a file of that path may not do and does."""
    tree = ast.parse(source)
    return [*import_faults(path, tree), *other_faults(path, tree)]


def test_every_file_keeps_to_its_room() -> None:
    files = [file for room in ROOMS for file in (PROJECT / room).rglob("*.py")]
    assert len(files) > 20
    found = [fault for file in files for fault in faults(file.relative_to(PROJECT).as_posix(), file.read_text())]
    assert found == []


@pytest.mark.parametrize(
    ("path", "source", "fault"),
    [
        ("common/files.py", "from suite import plan", "imports suite.plan, which lies to the left of common"),
        (
            "scenarios/base.py",
            "def f():\n  import suite.plan",
            "imports suite.plan, which lies to the left of scenarios",
        ),
        ("suite/plan.py", "from tools.fetch_data import fetch", "lies to the left of suite"),
        ("tools/audit.py", "import tests.zoo", "imports tests.zoo"),
        ("suite/worker.py", "def f():\n  import mlperf_loadgen", "imports LoadGen outside scenarios/harness"),
        ("suite/plan.py", "def f():\n  import torch", "imports the runtime torch"),
        ("suite/plan.py", "if TYPE_CHECKING:\n  pass\nelse:\n  import torch", "imports the runtime torch"),
        ("common/files.py", "if TYPE_CHECKING:\n  from suite.plan import Plan", "to the left of common"),
        ("scenarios/harness/sut.py", "import onnxruntime as ort", "imports the runtime onnxruntime"),
        ("suite/backends/torch.py", "import torch", "imports torch outside a function"),
        ("suite/backends/torch.py", "class A:\n  from torch import nn", "imports torch outside a function"),
        ("common/statistics.py", "from scipy.stats import beta", "imports scipy outside a function"),
        ("suite/plan.py", "from absl import flags", "reads flags and is no command"),
        ("suite/plan.py", "import os\nX = os.environ.get('X')", "reads the environment and is no command"),
        ("suite/plan.py", "import os\nX = os.getenv('X')", "reads the environment and is no command"),
        ("scenarios/harness/sut.py", "def f():\n  print('here')", "prints and is no command"),
    ],
)
def test_what_a_room_may_not_do_is_found(path: str, source: str, fault: str) -> None:
    assert [one for one in faults(path, source) if fault in one]


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("suite/plan.py", "from scenarios.base import Backend\nfrom suite import rules"),
        ("scenarios/harness/loadgen.py", "import mlperf_loadgen"),
        ("suite/backends/torch.py", "def load():\n  import torch"),
        ("reference_models/base.py", "if TYPE_CHECKING:\n  import torch"),
        ("reference_models/fashion_resnet/network.py", "import torch"),
        ("tools/audit.py", "import os\nfrom absl import flags\nif __name__ == '__main__':\n  print(os.environ)"),
    ],
)
def test_what_a_room_may_do_is_left_alone(path: str, source: str) -> None:
    assert faults(path, source) == []


PLUGINS = ("reference_models", "suite.backends", "suite.optimizations")
LIGHT = (
    "accuracy_scripts.certify",
    "accuracy_scripts.top1",
    "suite.plan",
    "suite.run",
    "suite.score",
    "suite.verdict",
    "tools.fetch_data",
    *(f"{package}.{name.replace('-', '_')}" for package in PLUGINS for name in plugins.names(package)),
)


@pytest.mark.parametrize("module", LIGHT)
def test_the_parent_process_stays_light(module: str) -> None:
    heavy = LATE | {"mlperf_loadgen"}
    code = f"import sys, {module}; print(*sorted({heavy!r} & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, "", "")
