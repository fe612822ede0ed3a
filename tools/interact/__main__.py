"""Maps how batch, sessions, threads, stages and gathering ahead interact: each value of one with each of the others.

    python -m tools.interact --workload fashion-resnet --backend onnxruntime --out map
    python -m tools.interact --end-to-end --prefetch 0,1,2 --out whole

Every cell that the cores allow is measured in short turns, in rounds whose order is drawn anew, and what it answers is
compared with what batches of 1 on 1 session of 1 thread answer. Prints a table a panel and which shapes known from
an accelerator are seen here; writes map.json, map.csv, map.svg and map.png. Exit codes: 0 the map is drawn, 2 the
command was wrong or its files cannot be kept, 3 the cell that all are compared with failed, 130 interrupted.
"""

import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from absl import flags

from common.errors import UsageError
from common.files import canonical_json, write_atomically
from common.flags import new_flags, run
from common.names import unknown
from suite import environment, interrupts, machine_state, places, plugins, prepare, recipes, store
from suite.backends._cut import OPTION
from suite.placement import AUTO, OFF, cores_of
from suite.plan import Asked, Plan, resolve
from suite.progress import say
from suite.resources import usable_cores
from suite.variant import Requested
from tools.interact import picture, report
from tools.interact.conduct import ROUNDS, Chart, Ground, expected_s, measure, within
from tools.interact.grid import axes
from tools.interact.record import record, table

FLAGS = new_flags()
WORKLOAD = flags.DEFINE_string("workload", "fashion-resnet", "what is run", flag_values=FLAGS)
BACKEND = flags.DEFINE_string("backend", "onnxruntime", "what runs it", flag_values=FLAGS)
OPTIMIZE = flags.DEFINE_string("optimize", "", "recipe of the model, as in quantize:int8", flag_values=FLAGS)
OPTIONS = flags.DEFINE_string("backend_options", "", "runtime options: name=value,name=value", flag_values=FLAGS)
BATCHES = flags.DEFINE_list("batches", [], "largest batches (default: 1,2,4,...,1024)", flag_values=FLAGS)
SESSIONS = flags.DEFINE_list("sessions", [], "sessions side by side (default: 1,2,4,...,cores)", flag_values=FLAGS)
THREADS = flags.DEFINE_list("threads", [], "threads of a session (default: 1,2,4,...,cores)", flag_values=FLAGS)
STAGES = flags.DEFINE_list(
    "stages", [], "stages of a session's graph, which share its threads (default: 1,2)", flag_values=FLAGS
)
PREFETCH = flags.DEFINE_list("prefetch", [], "threads of a session that gather ahead (default: 0,1)", flag_values=FLAGS)
PIN = flags.DEFINE_string("pin", OFF, "cores that the sessions share: off, all, or as in 0-3,8", flag_values=FLAGS)
DEVICE = flags.DEFINE_string("device", "auto", "auto, cpu or cuda", flag_values=FLAGS)
END_TO_END = flags.DEFINE_bool(
    "end_to_end", False, "samples are decoded and preprocessed inside what is timed", flag_values=FLAGS
)
SECONDS = flags.DEFINE_float("seconds", 1.5, "for a cell, in all of its turns", flag_values=FLAGS)
ROUND_COUNT = flags.DEFINE_integer(
    "rounds", ROUNDS, "in which each cell has a turn", lower_bound=2, upper_bound=100, flag_values=FLAGS
)
OUT = flags.DEFINE_string("out", "map", "folder of the map", flag_values=FLAGS)
STALL = flags.DEFINE_float("stall_timeout", 60.0, "seconds without progress that end a process", flag_values=FLAGS)
DATA = flags.DEFINE_string("data_dir", "", "the dataset (default: $TANDEM_DATA, else the cache's)", flag_values=FLAGS)
CACHE = flags.DEFINE_string("cache_dir", "", "the cache (default: $TANDEM_CACHE or ~/.cache/tandem)", flag_values=FLAGS)


def main(arguments: list[str]) -> int:
    """Measures the map, prints it and writes its files."""
    interrupts.install()
    plan, folder = _plan(), Path(OUT.value)
    pin = cores_of(plan.requested.pin)
    cores = min(usable_cores(), len(pin)) if pin else usable_cores()
    chosen = axes(cores, BATCHES.value, SESSIONS.value, THREADS.value, PREFETCH.value, _stages(plan))
    _write(folder, {})
    made = prepare.make(plan)
    device = _device(plan)
    count, minutes = len(within(chosen, cores)), expected_s(chosen, cores, SECONDS.value, ROUND_COUNT.value) / 60
    say(f"map: {count} of {len(chosen.cells)} cells, {SECONDS.value:g} s each: about {minutes:.1f} minutes")
    before, started = machine_state.reading(), store.now()
    ground = Ground(made.subject, device, pin, cores, plan.stall_timeout_s, plan.requested.end_to_end)
    chart = measure(chosen, ground, SECONDS.value, ROUND_COUNT.value)
    about = {
        "variant": made.variant.record(),
        "backend_version": made.backend.version,
        "device": device,
        "pin": list(pin),
        "end_to_end": ground.end_to_end,
        "axes": asdict(chosen),
        "cores": cores,
        "seconds": SECONDS.value,
        "started_at": started,
        "ended_at": store.now(),
        "machine_during": machine_state.during(before, machine_state.reading()),
        "fingerprint": environment.fingerprint(device),
        "source_sha256": environment.source_digest(),
    }
    named = [f"{plan.workload} on {plan.backend} ({device})", plan.recipe, "end to end" if ground.end_to_end else ""]
    title = ", ".join(filter(None, named))
    _write(folder, _files(chart, title, about))
    print(report.text(chart, title))
    print(f"\nmap: {', '.join(str(folder / f'map.{suffix}') for suffix in ('json', 'csv', 'svg', 'png'))}")
    return 0


def _plan() -> Plan:
    """Returns what is asked; raises UsageError where the recipe asks for a serving, of which the map has all."""
    if not 0.1 <= SECONDS.value <= 600:
        raise UsageError(f"--seconds is {SECONDS.value:g}; it must be from 0.1 to 600.")
    if recipes.requested(OPTIMIZE.value, Requested()) != Requested():
        raise UsageError(
            "--optimize asks for a way of serving, and the map has all; leave batch, parallel, prefetch and pipeline "
            "out."
        )
    for room in environment.ROOMS:
        environment.refuse_within(str(environment.ROOT / room), {"--out": OUT.value})
    cache = places.cache_dir(CACHE.value, os.environ)
    plan = resolve(
        Asked(
            workload=WORKLOAD.value,
            backend=BACKEND.value,
            scenario="offline",
            mode="accuracy",
            profile="quick",
            optimize=OPTIMIZE.value,
            backend_options=OPTIONS.value,
            device=DEVICE.value,
            pin=PIN.value,
            end_to_end=END_TO_END.value,
            data_dir=lambda dataset: str(places.data_dir(DATA.value, os.environ, cache, dataset)),
            cache_dir=str(cache),
            results_dir="results",
            stall_timeout_s=STALL.value,
        )
    )
    if plan.options.get(OPTION, "1") != "1":
        raise UsageError(f"--backend-options cuts the graph; leave {OPTION} out, and give --stages.")
    if plan.requested.pin == AUTO:
        raise UsageError(f"--pin is {AUTO}, and nothing is chosen here; give {OFF}, all, or a list of cores.")
    return plan


def _stages(plan: Plan) -> list[str]:
    """Returns the stages that are asked for, one where the backend cuts no graph; raises UsageError for any then."""
    cuts = not plugins.is_foreign(plan.backend) and OPTION in plugins.describe(plan.backend).options
    if STAGES.value and not cuts:
        raise UsageError(
            f"--stages cuts an ONNX graph, and the backend {plan.backend} cuts none. Use --backend onnxruntime, or "
            "leave it out."
        )
    return STAGES.value if cuts else ["1"]


def _device(plan: Plan) -> str:
    """Returns the device that is asked for, or the backend's first; raises UsageError where it cannot be used here."""
    usable = prepare.call("devices", {"backend": plan.backend}, plan.stall_timeout_s, "map")["devices"]
    if plan.requested.device not in ("auto", *usable):
        raise unknown("device here,", plan.requested.device, usable)
    return str(usable[0] if plan.requested.device == "auto" else plan.requested.device)


def _files(chart: Chart, title: str, about: dict[str, Any]) -> dict[str, bytes]:
    texts = {"json": canonical_json(record(chart, about)), "csv": table(chart)}
    return {**{suffix: one.encode() for suffix, one in texts.items()}, **picture.draw(chart, title)}


def _write(folder: Path, files: dict[str, bytes]) -> None:
    """Writes the map's files; raises UsageError where the folder takes none."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for suffix, content in files.items():
            write_atomically(folder / f"map.{suffix}", content)
    except OSError as error:
        raise UsageError(
            f"The map cannot be kept in {folder} ({error.strerror or error}). Give another --out."
        ) from error


if __name__ == "__main__":
    sys.exit(run(main, FLAGS))
