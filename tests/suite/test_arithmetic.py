"""Multiply-accumulates are read from a profile's events: by type, where packed weights are missing too."""

from typing import Any

import pytest

from suite.arithmetic import macs, shares


def node(
    name: str, operator: str, inputs: list[dict[str, list[int]]], output: list[int], **more: str
) -> dict[str, Any]:
    kind = next(iter(inputs[0]))
    told = {"op_name": operator, "provider": "CPU", "input_type_shape": inputs, "output_type_shape": [{kind: output}]}
    return {"cat": "Node", "name": f"{name}_kernel_time", "args": {**told, **more}}


SCALE: dict[str, list[int]] = {"float": []}
ZERO: dict[str, list[int]] = {"uint8": []}


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        (node("a", "Conv", [{"float": [1, 8, 4, 4]}, {"float": [16, 8, 3, 3]}], [1, 16, 4, 4]), ("float32", 256 * 72)),
        # Depthwise: one input channel a filter.
        (node("b", "Conv", [{"float": [1, 8, 4, 4]}, {"float": [8, 1, 3, 3]}], [1, 8, 4, 4]), ("float32", 128 * 9)),
        (node("c", "Gemm", [{"float16": [1, 30]}, {"float16": [10, 30]}], [1, 10]), ("float16", 300)),
        # The weights are packed: the file knows their shape, and their zero point their type.
        (
            node(
                "known_token_3",
                "QLinearConv",
                [{"uint8": [1, 4, 4, 8]}, SCALE, ZERO, SCALE, {"int8": [16]}],
                [1, 4, 4, 16],
            ),
            ("uint8 x int8", 256 * 72),
        ),
        # The weights' zero point is the last.
        (
            node("known", "MatMulInteger", [{"uint8": [1, 72]}, ZERO, {"int8": []}], [1, 10]),
            ("uint8 x int8", 720),
        ),
        (
            node("known_quant", "ConvInteger", [{"uint8": [1, 8, 4, 4]}, ZERO, ZERO], [1, 16, 4, 4]),
            ("uint8", 256 * 72),
        ),
        # Integer weights beside float32: their packed bytes do not tell of how many bits they are.
        (
            node("known_token_3", "MatMulNBits", [{"float": [1, 72]}, {"uint8": [90]}], [1, 10]),
            ("float32 x int4", 720),
        ),
    ],
)
def test_a_node_counts_its_products_under_its_types(event: dict[str, Any], expected: tuple[str, int]) -> None:
    kind, count = expected
    assert macs([event], {"known": 72, "kno": 5}, {"known": 4}) == {f"{kind} on CPU": count}


def test_what_multiplies_no_weights_does_not_count() -> None:
    others = [
        node("known_scales_mul", "Mul", [{"float": [1, 8]}, {"float": [1]}], [1, 8]),
        {"cat": "Session", "name": "known", "args": {}},
        {"cat": "Node", "name": "known_fence_before", "args": {"op_name": "Conv"}},
    ]
    assert macs(others, {"known": 72}, {}) == {}


def test_nothing_is_said_where_one_node_cannot_be_counted() -> None:
    counted = node("known", "Conv", [{"float": [1, 8, 4, 4]}, {"float": [16, 8, 3, 3]}], [1, 16, 4, 4])
    # Its weights are packed, and its name is not the file's.
    packed = node("fused", "QLinearConv", [{"uint8": [1, 4, 4, 8]}, SCALE, ZERO, SCALE, ZERO], [1, 4, 4, 16])
    assert macs([counted], {"known": 72}, {}) and macs([counted, packed], {"known": 72}, {}) == {}
    # Of how many bits its weights are only the file says.
    few_bits = node("known", "MatMulNBits", [{"float": [1, 72]}, {"uint8": [90]}], [1, 10])
    assert macs([few_bits], {"known": 72}, {"known": 8}) and macs([few_bits], {"known": 72}, {}) == {}


def test_shares_are_told_the_largest_first() -> None:
    assert shares({"float32 on CPU": 1, "uint8 x int8 on CPU": 3}) == "75 % uint8 x int8 on CPU, 25 % float32 on CPU"
    # Little of another is not nothing.
    assert shares({"float32 on CPU": 9995, "float32 x int4 on CPU": 5}) == (
        "99.95 % float32 on CPU, 0.05 % float32 x int4 on CPU"
    )
