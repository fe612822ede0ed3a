"""What is surely faster: beyond the reference's own noise, of one block only where single blocks are as steady."""

from dataclasses import replace

import pytest

from tools.study import ranking, report
from tools.study.answers import answers
from tools.study.findings import COUNTS, MISSES, UNJUDGED, Row
from tools.study.plan import Cell
from tools.study.words import unlinked

pytestmark = pytest.mark.side_by_side

REFERENCE = Row(
    Cell("fashion-resnet", "onnxruntime", "offline", ""),
    COUNTS,
    accuracy=93.4,
    target=92.4,
    ratio=0.95,
    ends=(0.93, 0.98),
    blocks=5,
    figure=10_000.0,
    unit="samples/s",
    evidence="results/reference",
    record="cells/reference.json",
)


def of(recipe: str, ratio: float, ends: tuple[float, float] | None = None, **more: object) -> Row:
    """Returns a row beside the reference, of five blocks, or of one where it has no interval."""
    row = replace(REFERENCE, cell=replace(REFERENCE.cell, recipe=recipe), ratio=ratio, ends=ends, figure=None)
    return replace(row, **{"blocks": 5 if ends else 1, **more})  # type: ignore[arg-type]


def test_one_block_is_as_sure_as_single_blocks_of_its_group() -> None:
    one = of("prune:0.5", 1.05, state=MISSES)
    low, high = ranking.ends(one, [REFERENCE, one])
    # The reference's five blocks lie within 2.65 % of their mean: one lies within root five times as much.
    assert low == pytest.approx(1.05 / (0.98 / 0.93) ** (5**0.5 / 2)) and low * high == pytest.approx(1.05**2)
    assert low < 1 and ranking.lies([REFERENCE, one]) == []
    assert ranking.lies([REFERENCE, of("prune:0.7", 1.3, state=MISSES)])
    # Where nothing tells how steady a block is, nothing is sure.
    assert ranking.lies([replace(REFERENCE, ends=None), of("prune:0.7", 9.0, state=MISSES)]) == []


def test_the_reference_is_one_whatever_it_measured_beside_itself() -> None:
    wrong = of("input:resolution=20", 1.96, (1.9, 2.0), state=MISSES)
    own = [REFERENCE, wrong]
    assert ranking.ends(REFERENCE, own) == (1.0, 1.0)
    (line,) = report.inverted(own)
    assert unlinked(line).startswith("`input:resolution=20` (1.96 times) is worth nothing (misses its target, ")
    assert line.endswith("and surely faster than `reference` (1.96 times).")


def test_what_is_within_the_references_own_noise_is_not_recommended() -> None:
    unsteady = replace(REFERENCE, ratio=1.12, ends=(1.03, 1.22))
    rows = [of(recipe, 1.12, (1.05, 1.19), state=COUNTS) for recipe in ("input:uint8", "cluster:8")]
    assert ranking.recommended([unsteady, *rows]) == []
    assert [row.cell.recipe for row in ranking.recommended([REFERENCE, *rows])] == ["input:uint8", "cluster:8"]
    wrong = of("prune:0.9", 1.12, (1.05, 1.19), state=MISSES)
    assert report.inverted([unsteady, wrong])[0].startswith("No inversion: ")
    assert ranking.lies([unsteady, wrong]) == [] and ranking.lies([REFERENCE, wrong]) == [wrong]


def test_of_equally_fast_ones_that_of_the_fewest_steps_is_recommended() -> None:
    chain = of("cluster:8+quantize:int8", 1.8, (1.7, 1.9), state=COUNTS, accuracy=93.5)
    short = of("quantize:int8", 1.78, (1.7, 1.86), state=COUNTS, accuracy=93.3)
    slow = of("quantize:bfloat16", 1.4, (1.35, 1.45), state=COUNTS)
    assert ranking.recommended([REFERENCE, chain, short, slow]) == [short, chain]
    text = unlinked(" ".join(answers([REFERENCE, chain, short, slow])))
    assert "use `quantize:int8`: 1.78 times the reference (1.70 to 1.86)" in text
    assert "As fast, as far as can be told: `cluster:8+quantize:int8` (1.80 times, 93.50 %)." in text


@pytest.mark.parametrize(("held", "recommended"), [(9_900.0, False), (10_100.0, True)])
def test_in_server_what_is_recommended_holds_more_load(held: float, recommended: bool) -> None:
    """Turns have no limit of latency: what is faster there may hold less."""
    rows = [REFERENCE, of("quantize:int8", 1.12, (1.1, 1.14), state=COUNTS, figure=held)]
    server = [replace(row, cell=replace(row.cell, scenario="server")) for row in rows]
    assert bool(ranking.recommended(server)) is recommended and ranking.recommended(rows)
    # A load that the reference did not hold is none to hold more than.
    assert ranking.recommended([replace(server[0], state=UNJUDGED), server[1]]) == []


def test_a_full_run_that_says_otherwise_is_on_the_first_screen() -> None:
    chosen = of("quantize:int8", 1.9, (1.85, 1.95), state=COUNTS, figure=15_500.0)
    other = of("quantize:int8,range=reduced", 1.8, (1.7, 1.84), state=COUNTS, figure=21_000.0, evidence="results/other")
    text = " ".join(answers([REFERENCE, chosen, other]))
    said = (
        "Its full run made 15,500 samples/s, the reference's 10,000 samples/s: 1.55 times, which is well outside that"
    )
    assert said in unlinked(text)
    near = " ".join(answers([REFERENCE, replace(chosen, figure=20_000.0)]))
    assert "2.00 times. " in unlinked(near) and "outside" not in near
    assert "The fastest full run is that of `quantize:int8,range=reduced`: 21,000 samples/s." in unlinked(text)
    assert "[21,000 samples/s](results/other/verdict.json)" in text


def test_in_a_stream_a_full_run_is_faster_that_has_the_lower_latency() -> None:
    base = replace(REFERENCE, figure=1_000_000.0, unit="ns")
    rows = [
        base,
        of("quantize:int8", 1.9, (1.85, 1.95), state=COUNTS, figure=520_000.0, unit="ns"),
        of("quantize:int8,range=reduced", 1.8, (1.7, 1.84), state=COUNTS, figure=400_000.0, unit="ns"),
    ]
    stream = [replace(row, cell=replace(row.cell, scenario="single-stream")) for row in rows]
    text = unlinked(" ".join(answers(stream)))
    assert "Its full run made 520,000 ns, the reference's 1,000,000 ns: 1.92 times. " in text
    assert "The fastest full run is that of `quantize:int8,range=reduced`: 400,000 ns." in text


def test_where_nothing_answered_no_target_is_told() -> None:
    text = " ".join(answers([Row(REFERENCE.cell, "failed", "It ended.")]))
    assert "A variant counts" not in text and "no throughput was measured" in text
