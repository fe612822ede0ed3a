"""Number formats of accelerators, and how values become theirs: the nearest code, of two as near the even one.

What is written here is computed by numpy, and by nodes of an ONNX graph: `xp` is numpy, or has what is used of it under
the same names (_values.py). All of it is in float64. There all about a value in float32 is exact but its quotient by a
scale; and a quotient that is not itself halfway between two codes is further from there than float64 rounds: by a share
of 2**-36 and more, as a scale and what lies halfway have no more bits together.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

# The smallest float32 with all its bits, a power of two.
SMALLEST = 2.0**-126


@dataclass(frozen=True)
class Grid:
    """The values of a type: `fraction` bits behind the leading one, evenly spaced below 2**`least`, and the two ends.

    What lies beyond an end becomes it, as in OFP8's saturating mode. Whole numbers are evenly spaced throughout.
    """

    fraction: int
    least: int
    lowest: float
    largest: float

    def rounded(self, xp: Any, values: Any) -> Any:
        """Returns the nearest values of this type."""
        bounded = xp.clip(values, self.lowest, self.largest)
        step = 2.0 ** (self.least - self.fraction)
        if self.largest >= 2.0 ** (self.least + 1):
            step = xp.maximum(leading(xp, bounded) * 2.0**-self.fraction, step)
        return xp.rint(bounded / step) * step


def leading(xp: Any, values: Any) -> Any:
    """Returns the greatest power of two that is no greater than each magnitude, 0 of 0; below 2**970.

    (2**52 + 1) times a value, less a 2**53rd part of that, is rounded to the next number below: the difference is the
    distance of numbers there, and that is the power of two (after Rump's "unit in the first place").
    """
    far = values * (2.0**52 + 1)
    return xp.abs(far - far * (1 - 2.0**-53))


def shared_exponent(xp: Any, grid: Grid, largest: Any) -> Any:
    """Returns the scales of blocks with these largest magnitudes: powers of two.

    By the MX specification (OCP, version 1.0, section 6.3) the leading power of two over that of the type's largest
    value: the largest of a block may saturate.
    """
    of_the_type = 2.0 ** np.floor(np.log2(grid.largest))
    return xp.maximum(leading(xp, largest) / of_the_type, 2.0**-127)


def shared_e4m3(xp: Any, grid: Grid, largest: Any) -> Any:
    """Returns the scales of NVFP4's blocks: what brings the largest to the type's largest, in E4M3, and never 0.

    As in NVIDIA, "Pretraining Large Language Models with NVFP4", arXiv 2509.25149, appendix C.
    """
    return xp.maximum(E4M3.rounded(xp, largest / grid.largest), 2.0**-9)


@dataclass(frozen=True)
class Format:
    """Codes of a type, and how values are scaled to them.

    `reach` is what a tensor's largest magnitude becomes by the tensor's own scale, None where it has none. Each `block`
    of values along the input channels, of which a depthwise filter has one, has a scale besides, which `shared` makes
    of its largest magnitude.
    """

    grid: Grid
    reach: float | None = None
    block: int = 0
    shared: Callable[[Any, Grid, Any], Any] | None = None

    def rounded(self, xp: Any, values: Any, axis: int, channels: int, scale: Any = None) -> Any:
        """Returns the values that the nearest codes stand for.

        `channels` are those along `axis`; `scale` is the tensor's own, of `scales`.
        """
        if self.shared:
            largest = self._largest_of_blocks(xp, values, axis, channels)
            of_blocks = self.shared(xp, self.grid, largest if scale is None else largest / scale)
            of_blocks = of_blocks if scale is None else of_blocks * scale
            scale = xp.take(of_blocks, np.arange(channels) // self.block, axis)
        if scale is None:
            return self.grid.rounded(xp, values)
        return self.grid.rounded(xp, values / scale) * scale

    def scales(self, largest: Any, *, power_of_two: bool) -> NDArray[np.float64] | None:
        """Returns the scales, as float32 holds them, of tensors or channels with these largest magnitudes.

        Or the smallest powers of two that are no smaller. None where the format has no such scale.
        """
        if self.reach is None:
            return None
        # Of zeros alone any scale is right.
        exact: NDArray[np.float64] = np.maximum(np.asarray(largest, np.float64) / self.reach, SMALLEST)
        if power_of_two:
            mantissa, exponent = np.frexp(exact)
            exact = np.ldexp(1.0, exponent - (mantissa == 0.5))
        return exact.astype(np.float32).astype(np.float64)

    def _largest_of_blocks(self, xp: Any, values: Any, axis: int, channels: int) -> Any:
        parts = xp.split(xp.abs(values), range(self.block, channels, self.block), axis)
        return xp.concatenate([xp.max(part, axis, keepdims=True) for part in parts], axis)


# E4M3 without infinities, E5M2: OCP 8-bit Floating Point Specification (OFP8), version 1.0. E2M1: the MX specification.
E4M3 = Grid(3, -6, -448, 448)
E5M2 = Grid(2, -14, -57344, 57344)
E2M1 = Grid(1, 0, -6, 6)

BF16_LARGEST = (2 - 2.0**-7) * 2.0**127
TF32_LARGEST = (2 - 2.0**-10) * 2.0**127

BY_NAME = {
    "bf16": Format(Grid(7, -126, -BF16_LARGEST, BF16_LARGEST)),
    # 10 bits behind the leading one, and the exponents of float32 (NVIDIA, A100 architecture, 2020).
    "tf32": Format(Grid(10, -126, -TF32_LARGEST, TF32_LARGEST)),
    "fp16": Format(Grid(10, -14, -65504, 65504)),
    "fp8-e4m3": Format(E4M3, E4M3.largest),
    "fp8-e5m2": Format(E5M2, E5M2.largest),
    "int8": Format(Grid(7, 7, -128, 127), 127),
    "int4": Format(Grid(3, 3, -8, 7), 7),
    "mxfp8": Format(E4M3, block=32, shared=shared_exponent),
    "mxfp4": Format(E2M1, block=32, shared=shared_exponent),
    "nvfp4": Format(E2M1, E2M1.largest * E4M3.largest, block=16, shared=shared_e4m3),
}
