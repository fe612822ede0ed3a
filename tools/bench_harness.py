"""Measures what the harness costs, and whether it finds the machine's limit: each figure beside its bar.

Each row is of pairs: the suite, and the raw loop (the model, one gather, one argmax, no LoadGen) or a bare callback of
LoadGen's, in turn, a second or two each, in an order drawn anew. The figure is the median of the pairs' differences or
ratios with its 95 % interval; a bar is met when the whole interval lies inside it.
"""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

from absl import flags

from common.errors import RunFailed, UsageError
from common.files import canonical_json, write_atomically
from common.flags import new_flags, run
from common.names import unknown
from suite import environment, interrupts, plugins
from suite.places import cache_dir, data_dir
from suite.progress import say
from tools import reference_harness
from tools.bench.bench import WORKLOADS, Bench
from tools.bench.measures import MEASURES
from tools.bench.rows import MET, NO_BAR, UNKNOWN, NotMeasured, Row
from tools.bench.table import markdown
from tools.bench.upstream import Reference

FLAGS = new_flags()
ARGUMENTS = "[FILE ...]"
ONLY = flags.DEFINE_list("only", [], f"rows to measure, of {', '.join(MEASURES)} (default: all)", flag_values=FLAGS)
PAIRS = flags.DEFINE_integer("pairs", 20, "pairs a row", 6, 1000, flag_values=FLAGS)
SECONDS = flags.DEFINE_float("seconds", 1.2, "seconds of a side of a pair", 0.2, 60.0, flag_values=FLAGS)
MARKDOWN = flags.DEFINE_bool(
    "markdown", False, "measure nothing: print the rows of the FILEs that --out wrote as a table", flag_values=FLAGS
)
OUT = flags.DEFINE_string("out", "", "file for all that was measured, as JSON", flag_values=FLAGS)
REFERENCE = flags.DEFINE_string(
    "reference", "", "a checkout of mlcommons/inference, measured beside ours", flag_values=FLAGS
)
PYTHON = flags.DEFINE_string("reference_python", sys.executable, "the Python that runs it", flag_values=FLAGS)
DATA = flags.DEFINE_string("data_dir", "", "the dataset (default: $TANDEM_DATA, else the cache's)", flag_values=FLAGS)
CACHE = flags.DEFINE_string("cache_dir", "", "the cache (default: $TANDEM_CACHE or ~/.cache/tandem)", flag_values=FLAGS)


def machine() -> str:
    """Returns the machine in a line."""
    found = environment.fingerprint("cpu")
    packages = found["packages"]
    versions = ", ".join(f"{name} {packages[name]}" for name in ("onnxruntime", "torch") if name in packages)
    return (
        f"{found['cpu_model']} ({found['cpu_kind']}), {found['cores']} cores, load average {os.getloadavg()[0]:.2f}, "
        f"Linux {found['kernel']}, Python {found['python']}, LoadGen {packages['mlcommons-loadgen']}, {versions}"
    )


def lines(row: Row | NotMeasured) -> list[str]:
    """Returns a row for people: the figure with its interval, its bar and what that means."""
    if isinstance(row, NotMeasured):
        return [row.name, f"    not measured: {row.why}"]
    low, high = row.interval
    unit = f" {row.unit}" if row.unit else ""
    verdict = row.verdict
    judged = "" if row.bar is None else f"  bar: {row.bar}: {verdict}"
    if verdict == UNKNOWN:
        judged += f"; about {row.more_pairs:,} more pairs would"
    interval = f"95 % {low:.3f} to {high:.3f}, {len(row.figures)} pairs"
    sides = f"{row.base_name} {row.base:,.6g}, suite {row.suite:,.6g} {row.sides}"
    found = [
        f"{row.name}",
        f"    {row.figure:.3f}{unit}  ({interval}){judged}",
        f"    {sides}{f'; {row.why}' if row.why else ''}",
    ]
    if row.bound and verdict not in (MET, NO_BAR):
        found.append(f"    when it was profiled, what bounded it was {row.bound}")
    return [*found, f"    {row.reference}"] if row.reference else found


def main(arguments: list[str]) -> int:
    """Prints each row as soon as it is measured; one that fails says why, and the others go on."""
    if MARKDOWN.value:
        if not arguments:
            raise UsageError("--markdown needs the files that --out wrote.")
        print(markdown([Path(one) for one in arguments]))
        return 0
    if arguments:
        raise UsageError(f"'{arguments[0]}' is no flag; files are read with --markdown alone.")
    interrupts.install()
    for name in ONLY.value:
        if name not in MEASURES:
            raise unknown("row", name, MEASURES)
    cache = cache_dir(CACHE.value, os.environ)
    data = data_dir(DATA.value, os.environ, cache, plugins.workload(WORKLOADS[0]).dataset_name)
    reference = None
    if REFERENCE.value:
        upstream = reference_harness.find(Path(REFERENCE.value), PYTHON.value)
        reference = Reference(upstream, SECONDS.value, Path(data), Path(cache))
    bench = Bench(PAIRS.value, SECONDS.value, Path(data), Path(cache), reference)
    where = machine()
    print(where, flush=True)
    rows: list[Row | NotMeasured] = []
    for name in ONLY.value or MEASURES:
        for row in _measured(name, bench):
            rows.append(row)
            print(*lines(row), sep="\n", flush=True)
            _keep(rows, where)
    return 1 if any(isinstance(row, NotMeasured) for row in rows) else 0


def _measured(name: str, bench: Bench) -> Iterator[Row | NotMeasured]:
    for measure in MEASURES[name]:
        title = ", ".join((name, *measure.of))
        say(f"{title}: getting ready")
        try:
            yield from measure(bench)
        except RunFailed as error:
            yield NotMeasured(title, str(error))


def _keep(rows: list[Row | NotMeasured], where: str) -> None:
    """Writes what there is so far, so that an interrupted measurement loses nothing."""
    if not OUT.value:
        return
    content = canonical_json({"schema": 1, "machine": where, "rows": [row.record() for row in rows]})
    try:
        write_atomically(Path(OUT.value), content.encode())
    except OSError as error:
        raise UsageError(f"--out is {OUT.value}, which cannot be written: {error.strerror or error}.") from error


if __name__ == "__main__":
    sys.exit(run(main, FLAGS, arguments=ARGUMENTS))
