"""What optimizations of ONNX models have in common."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from common.errors import UsageError
from suite import recipes
from tests.suite.optimizations import models

pytestmark = pytest.mark.side_by_side


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("prune", {"sparsity": "0.5"}),
        ("cluster", {"bits": "4"}),
        ("lowrank", {"rank": "0.5"}),
        ("quantize", {"type": "int4", "what": "weights"}),
    ],
)
def test_a_model_without_weights_is_refused(name: str, parameters: Mapping[str, str], tmp_path: Path) -> None:
    source = models.one_layer(tmp_path / "source.onnx", "Relu", [8])
    with pytest.raises(UsageError, match=f"{name} finds no weights in float32 in this model"):
        recipes.maker(name).make(source, tmp_path / "target.onnx", parameters, None)
    assert not (tmp_path / "target.onnx").exists()
