"""A probe of one load: a Server test of LoadGen's that is ended as soon as it is plain what would come of it.

The rule is LoadGen's own, early stopping included (scenarios/harness/early_stopping.py). Hopeless: more queries are
late already than its whole time allows. Certain: what was seen shows the percentile, and no queue is growing. Otherwise
LoadGen's log of the whole test decides. A probe is no attempt and counts for nothing; it tells where to make one.
"""

import threading
import time
from collections.abc import Mapping
from math import sqrt
from pathlib import Path
from typing import Any

from common.errors import RunFailed
from reference_models.base import Dataset
from scenarios.harness import early_stopping, loadgen, logs
from scenarios.harness.sut import SystemUnderTest
from suite.probes.watch import Look, Watch

LOOK_S = 0.05
# Before this has passed nothing is certain: a queue that grows by a hundredth of its load has yet to be seen.
LEAST_S = 1.5
# Of the limit: where the last queries take longer, a queue may be growing.
TAIL_SHARE = 0.5
# A test may take so many times its length, and so much longer, before it is given up.
PATIENCE, PATIENCE_S = 3.0, 10.0


def decision(seen: Look, elapsed_s: float, qps: float, queries: int, limit_ns: float, percentile: float) -> str | None:
    """Returns "hopeless" or "certain" where it is plain what comes of a test of so many queries, else None.

    Overdue queries make nothing hopeless: where none is completed any more the backend hangs, and the watchdog decides.
    """
    if not early_stopping.met(queries, min(seen.late, queries), percentile):
        return "hopeless"
    expected = qps * elapsed_s
    over = seen.late + seen.overdue
    steady = (
        elapsed_s >= LEAST_S
        and seen.completed > 0
        and seen.arrived >= expected - 4 * sqrt(expected)
        and seen.tail_ns < TAIL_SHARE * limit_ns
    )
    return "certain" if steady and early_stopping.met(seen.completed + seen.overdue, over, percentile) else None


def run(
    sut: SystemUnderTest,
    dataset: Dataset,
    settings: Mapping[str, Any],
    performance_samples: int,
    queries: int,
    folder: Path,
    *,
    may_end_early: bool = True,
    decoded: bool = True,
    may_yield: bool = True,
) -> dict[str, Any]:
    """Returns what came of a test with these settings, which issues `queries`; the process must end soon after.

    LoadGen writes into `folder`, and may go on doing so. With `may_end_early` it is taken as soon as it is certain;
    what is hopeless always ends it. Raises RunFailed where the backend failed or LoadGen does not come to an end.
    """
    qps, limit_ns = float(settings["server_target_qps"]), float(settings["server_target_latency_ns"])
    percentile = float(settings["server_target_latency_percentile"])
    arguments = (sut, dataset, settings, "performance", performance_samples, folder)
    more = {"decoded": decoded, "may_yield": may_yield}
    test = threading.Thread(target=loadgen.run_test, args=arguments, kwargs=more, daemon=True)
    # Here, so that scipy is not imported while queries wait.
    if not early_stopping.met(queries, 0, percentile):
        raise ValueError(f"{queries} queries are too few to show the percentile {percentile}")
    started = time.monotonic()
    bound_s = PATIENCE * queries / qps + PATIENCE_S
    watch = Watch(sut, limit_ns)
    test.start()
    decided = None
    while decided is None and test.is_alive():
        test.join(LOOK_S)
        if sut.faults:
            raise RunFailed(f"The backend failed while a load was probed: {sut.faults[0].detail}.")
        if time.monotonic() - started > bound_s:
            raise RunFailed(f"A probe of {qps:g} queries/s did not end within {bound_s:.0f} s.")
        seen = watch.look(time.perf_counter_ns())
        decided = decision(seen, watch.elapsed_s, qps, queries, limit_ns, percentile) if seen.arrived else None
        if decided == "certain" and not may_end_early:
            decided = None
    found = watch.look(time.perf_counter_ns())
    held, late = decided == "certain", found.late + found.overdue
    if not test.is_alive():
        result = logs.read(folder)
        decided, held = "LoadGen", result.validity == "VALID" and not result.error_count
        late = int(result.number("result_overlatency_query_count") or 0)
    return {
        "qps": qps,
        "held": held,
        "decided_by": decided,
        "queries": found.completed,
        "late": late,
        **{f"p{one}_ms": watch.percentile_ms(one) for one in (50, 90, 99)},
        "seconds": round(time.monotonic() - started, 3),
    }
