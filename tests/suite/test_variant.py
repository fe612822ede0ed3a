"""A variant's id is that of its contents, and its record leads back to it."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from common.errors import UsageError
from reference_models.base import Model
from suite.variant import Requested, Variant, check_record

pytestmark = pytest.mark.side_by_side

MODEL = Model("onnx", Path("/somewhere/model.onnx"), "ab" * 32, ("reference", "exported"))
VARIANT = Variant(
    workload="fashion-resnet",
    recipe="fuse:level=all",
    backend="onnxruntime",
    model=MODEL,
    options={"graph_level": "all"},
    requested=Requested(batch=64, device="cpu"),
    eligible=True,
    not_eligible_because=None,
)


@pytest.mark.parametrize(
    "change",
    [
        {"workload": "fashion-mobilenet"},
        {"recipe": ""},
        {"backend": "torch"},
        {"model": replace(MODEL, format="safetensors")},
        {"model": replace(MODEL, sha256="cd" * 32)},
        {"model": replace(MODEL, chain=("reference",))},
        {"options": {"graph_level": "off"}},
        {"options": {}},
        {"requested": Requested(batch=65, device="cpu")},
        {"requested": Requested(batch=64)},
        {"requested": Requested(batch=64, device="cpu", threads=1)},
        {"requested": Requested(batch=64, device="cpu", sessions=1)},
        {"requested": Requested(batch=64, device="cpu", max_wait_us=0)},
        {"requested": Requested(batch=64, device="cpu", end_to_end=True)},
    ],
)
def test_whatever_names_it_changes_the_id(change: dict[str, Any]) -> None:
    assert replace(VARIANT, **change).id != VARIANT.id


def test_where_the_model_lies_does_not_change_the_id() -> None:
    assert replace(VARIANT, model=replace(MODEL, path=Path("elsewhere"))).id == VARIANT.id


def test_the_order_of_options_does_not_change_the_id() -> None:
    one = replace(VARIANT, options={"a": "1", "b": "2"})
    assert one.id == replace(VARIANT, options={"b": "2", "a": "1"}).id


def test_the_id_is_the_same_in_every_process() -> None:
    assert VARIANT.id == "50f478a7b5b1eb9f"


@pytest.mark.parametrize("end_to_end", [False, True])
def test_the_record_leads_back_through_json(end_to_end: bool) -> None:
    chosen = replace(VARIANT, requested=replace(VARIANT.requested, end_to_end=end_to_end))
    check_record(json.loads(json.dumps(chosen.record())))


def test_an_end_to_end_record_without_its_mark_is_refused() -> None:
    record = replace(VARIANT, requested=replace(VARIANT.requested, end_to_end=True)).record()
    del record["requested"]["end_to_end"]
    with pytest.raises(UsageError, match="was altered"):
        check_record(record)


def test_the_record_holds_no_path() -> None:
    assert "somewhere" not in json.dumps(VARIANT.record())


def test_an_altered_record_is_refused() -> None:
    record = VARIANT.record()
    record["options"]["graph_level"] = "off"
    with pytest.raises(UsageError, match=f"record of variant {VARIANT.id} was altered"):
        check_record(record)


@pytest.mark.parametrize("missing", ["workload", "model", "options", "requested", "eligible", "id"])
def test_an_incomplete_record_is_refused(missing: str) -> None:
    record = VARIANT.record()
    del record[missing]
    with pytest.raises(UsageError, match=f"no record of a variant: .*{missing}"):
        check_record(record)
