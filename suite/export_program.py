"""Programs of torch in files: what torch.export traces, as an archive of JSON and raw tensors."""

import json
import logging
import re
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from common.errors import UsageError

if TYPE_CHECKING:
    import torch

# The name of the format, and how the name of such a file ends.
FORMAT = "pt2"

# Behind the archive's own folder: what it may hold. Anything else, a compiled library say, is code.
PARTS = re.compile(
    r"archive_format|archive_version|byteorder|\.data/\w+|models/model\.json|data/sample_inputs/model\.pt"
    r"|data/weights/(weight_\d+|model_weights_config\.json)|data/constants/(tensor_\d+|model_constants_config\.json)"
)
CONFIGS = ("data/weights/model_weights_config.json", "data/constants/model_constants_config.json")
SAMPLES = "data/sample_inputs/model.pt"
GRAPH = "models/model.json"
# torch has sympy evaluate the graph's expressions, as Python; ours are the size of the batch alone.
EXPRESSION = re.compile(r"Symbol\('s\d+', positive=True, integer=True\)")


def traced(
    network: "torch.nn.Module", example: "torch.Tensor", *, strict: bool = False
) -> "torch.export.ExportedProgram":
    """Returns the program of a network, for any number of inputs like those of `example`, shape (n, *input_shape)."""
    import torch

    with quiet():
        return torch.export.export(network, (example,), dynamic_shapes=({0: torch.export.Dim("batch")},), strict=strict)


def save(program: "torch.export.ExportedProgram", path: Path) -> None:
    """Writes a program: the same bytes each time, whatever folder our sources lie in."""
    import torch

    # Without example inputs nothing in the file is pickled.
    program.example_inputs = None
    for node in program.graph.nodes:
        # All else says where in which file it was traced.
        node.meta = {"val": node.meta["val"]} if "val" in node.meta else {}
    with quiet(), path.open("wb") as file:
        torch.export.save(program, file)


def load(path: Path) -> "torch.export.ExportedProgram":
    """Returns the program of a file; raises UsageError where it is none, or holds more than a graph and tensors."""
    import torch
    import torch.ao.quantization.fx._decomposed  # has the operators that quantize and dequantize

    _check(path)
    with quiet(), path.open("rb") as file:
        return torch.export.load(file)


@contextmanager
def quiet(name: str = "torch") -> Iterator[None]:
    """Keeps torch's warnings of its own parts, and the logs of the logger of this name, from the user's terminal."""
    logger = logging.getLogger(name)
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def _check(path: Path) -> None:
    """Raises UsageError unless an archive holds a graph in JSON and raw tensors alone.

    torch runs what is pickled, and what a graph says in expressions.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            if len(set(names)) < len(names) or len({name.partition("/")[0] for name in names}) != 1:
                raise ValueError("its parts are not in one folder, each once")
            parts = {name.partition("/")[2]: name for name in names}
            strange = [part for part in parts if not PARTS.fullmatch(part)]
            configs: list[Mapping[str, Any]] = [json.loads(archive.read(parts[name])) for name in CONFIGS]
            pickled = [
                name for one in configs for name, tensor in one["config"].items() if tensor["use_pickle"] is not False
            ]
            if archive.getinfo(parts[SAMPLES]).file_size:
                pickled.append(SAMPLES)
            pickled += [one for one in _expressions(archive.read(parts[GRAPH])) if not EXPRESSION.fullmatch(one)]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, zipfile.BadZipFile) as error:
        raise UsageError(f"The model {path} is no program of torch: {error!r}.") from error
    if strange or pickled:
        raise UsageError(
            f"The model {path} holds {(strange or pickled)[0]}, which torch would run as code. Delete its folder to "
            "have it made again."
        )


def _expressions(graph: bytes) -> list[str]:
    """Returns the expressions of a graph in JSON."""
    found: list[str] = []

    def look(one: dict[str, Any]) -> dict[str, Any]:
        if "expr_str" in one:
            found.append(str(one["expr_str"]))
        return one

    json.loads(graph, object_hook=look)
    return found
