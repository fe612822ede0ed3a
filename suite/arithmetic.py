"""Which arithmetic really ran: multiply-accumulates by type and provider, read from onnxruntime's own profile.

That of torch is read in backends/_torch_profile.py.

What a variant is called says what was asked for. A node that has no kernel for it runs in another type or place.
"""

import math
from collections.abc import Iterable, Mapping
from typing import Any

FLOAT = ("Conv", "FusedConv", "FusedGemm", "FusedMatMul", "Gemm", "MatMul")
# Operators whose factors are integers. Packed weights are missing in a profile, their zero point is not: it comes
# behind the first factor, its scale and its zero point in those of the first kind, and last of all in the others.
SCALED = ("QGemm", "QLinearConv", "QLinearMatMul")
BEHIND_FIRST = 3
UNSCALED = ("ConvInteger", "DynamicQuantizeMatMul", "MatMulInteger", "MatMulIntegerToFloat")
# Activations are not quantized here, and weights are packed: of how many bits only the file tells (its `bits`; `K` are
# the products that it adds up).
PACKED = ("MatMulNBits",)
NAMES = {"float": "float32", "double": "float64"}
INTEGERS = ("int8", "uint8", "int16", "uint16")


def macs(events: Iterable[Mapping[str, Any]], products: Mapping[str, int], bits: Mapping[str, int]) -> dict[str, int]:
    """Returns multiply-accumulates by "type on provider", from the profile of one run.

    `products` are those that are added up in one output, and `bits` those of a packed weight, by the name that a node
    has in the model's file. onnxruntime adds to the names of nodes that it changes, or gives new ones; of those the
    profile tells the weights' shape. Empty where one node cannot be counted.
    """
    found: dict[str, int] = {}
    for event in events:
        node = event.get("args", {})
        operator = node.get("op_name", "")
        if (
            event.get("cat") != "Node"
            or "output_type_shape" not in node
            or operator not in (*FLOAT, *SCALED, *UNSCALED, *PACKED)
        ):
            continue
        original = _original(str(event["name"]), products)
        into_one = products.get(original) or _into_one(operator, node)
        if not into_one or (operator in PACKED and original not in bits):
            # Shares of the rest would claim too much.
            return {}
        label = f"{_kind(operator, node['input_type_shape'], bits.get(original))} on {node['provider']}"
        (output,) = node["output_type_shape"][0].values()
        found[label] = found.get(label, 0) + math.prod(output) * into_one
    return found


def shares(found: Mapping[str, int]) -> str:
    """Returns the shares for people, the largest first."""
    total = sum(found.values())
    ordered = sorted(found.items(), key=lambda one: -one[1])
    return ", ".join(f"{100 * count / total:.4g} % {label}" for label, count in ordered)


def _original(name: str, products: Mapping[str, int]) -> str:
    """Returns the longest name of the file's with which a name begins."""
    return max((one for one in products if name.startswith(one)), key=len, default="")


def _into_one(operator: str, node: Mapping[str, Any]) -> int:
    """Returns the products in one output by the shapes of a node's inputs, 0 where its weights are packed."""
    shapes = [shape for one in node["input_type_shape"][:2] for shape in one.values()]
    if "Conv" in operator:
        return math.prod(shapes[1][1:]) if len(shapes) > 1 and len(shapes[1]) > 2 else 0
    return int(shapes[0][-1]) if shapes and shapes[0] else 0


def _kind(operator: str, inputs: list[Mapping[str, Any]], bits: int | None) -> str:
    types = [NAMES.get(name, name) for one in inputs for name in one]
    if operator in FLOAT:
        return types[0]
    if operator in PACKED:
        return f"{types[0]} x int{bits}"
    # DynamicQuantizeMatMul is given float32, and quantizes it by itself.
    first = types[0] if types[0] in INTEGERS else "uint8"
    others = [name for name in types[BEHIND_FIRST if operator in SCALED else 1 :] if name in INTEGERS]
    second = others[0 if operator in SCALED else -1] if others else first
    return first if first == second else f"{first} x {second}"
