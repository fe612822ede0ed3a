"""Measures a workload's reference through upstream's own MLPerf harness, unchanged, to be set beside ours.

`--reference` names a checkout of mlcommons/inference. Its vision harness runs in a process of its own, with LoadGen's
settings from the quick profile, on the same ONNX file and the same samples. What counts is read from LoadGen's logs.
"""

import contextlib
import dataclasses
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from absl import flags

from accuracy_scripts import answers
from common.errors import RunFailed, UsageError
from common.files import write_atomically
from common.flags import new_flags, run
from scenarios.base import LoadRules, Scenario
from scenarios.harness import logs
from suite import artifacts, interrupts, plugins, rules
from suite.places import cache_dir, data_dir
from suite.progress import say
from tools import reference_model
from tools.reference_samples import Prepared, prepare

FLAGS = new_flags()
REFERENCE = flags.DEFINE_string(
    "reference", None, "a checkout of mlcommons/inference", flag_values=FLAGS, required=True
)
PYTHON = flags.DEFINE_string("reference_python", sys.executable, "the Python that runs it", flag_values=FLAGS)
WORKLOAD = flags.DEFINE_string("workload", "fashion-resnet", "whose model and samples", flag_values=FLAGS)
SCENARIO = flags.DEFINE_enum(
    "scenario", "offline", ["offline", "server", "single-stream"], "how load is issued", flag_values=FLAGS
)
QPS = flags.DEFINE_float("qps", 0.0, "Server: the load (0: seek the highest VALID one)", 0.0, 1e9, flag_values=FLAGS)
SECONDS = flags.DEFINE_float("seconds", 2.0, "least duration of a test", 0.1, 600.0, flag_values=FLAGS)
BEST = flags.DEFINE_bool("best", False, "the flags with which upstream was found fastest", flag_values=FLAGS)
THREADS = flags.DEFINE_integer("threads", None, "upstream's --threads", 1, 1024, flag_values=FLAGS)
MAX_BATCH = flags.DEFINE_integer("max_batch", None, "upstream's --max-batchsize", 1, 65536, flag_values=FLAGS)
INTRA_OP = flags.DEFINE_integer(
    "intra_op_threads", None, "ONNX Runtime's threads a call (upstream leaves its default)", 1, 1024, flag_values=FLAGS
)
COALESCE = flags.DEFINE_bool("coalesce", False, "Server: LoadGen joins queries that are due", flag_values=FLAGS)
NULL = flags.DEFINE_bool("null", False, "a model that computes nothing: upstream's own overhead", flag_values=FLAGS)
ACCURACY = flags.DEFINE_bool("accuracy", False, "an accuracy test instead: every sample once", flag_values=FLAGS)
DATA = flags.DEFINE_string("data_dir", "", "the dataset (default: $TANDEM_DATA, else the cache's)", flag_values=FLAGS)
CACHE = flags.DEFINE_string("cache_dir", "", "the cache (default: $TANDEM_CACHE or ~/.cache/tandem)", flag_values=FLAGS)

MAIN = Path("vision/classification_and_detection/python/main.py")
# What that file imports, and the package to install for it.
PACKAGES = {
    "cv2": "opencv-python-headless",
    "mlperf_loadgen": "mlcommons-loadgen",
    "numpy": "numpy",
    "onnxruntime": "onnxruntime",
    "pycocotools": "pycocotools",
}
FIND_MISSING = "import importlib.util, json, sys; print(json.dumps([n for n in {} if not importlib.util.find_spec(n)]))"

# So many answers of a performance test are logged, to see that there are any. Upstream goes on without answers where
# its model fails, and is all the faster.
SAMPLED_ANSWERS = 256

PROBE_TIMEOUT_S = 60.0
# A test may take so long to import, load and warm up, and so many times its least duration.
START_S, PATIENCE = 60.0, 10.0

# LoadGen's name in user.conf of the hint, and what ours is multiplied with: the streams' is milliseconds there.
HINT_KEYS = {
    "offline": ("target_qps", 1.0),
    "server": ("target_qps", 1.0),
    "single-stream": ("target_latency", 1e-6),
}
RATES = {
    "offline": "result_samples_per_second",
    "server": "result_completed_samples_per_sec",
    "single-stream": "result_qps_with_loadgen_overhead",
}
# Where nothing is known yet: samples/s, queries/s, ns. A test that it leaves too short tells a better one.
FIRST_HINTS = {"offline": 1000.0, "server": 1000.0, "single-stream": 1e6}
HINT_TRIES = 4


@dataclass(frozen=True)
class HarnessFlags:
    """What may be set of upstream's harness; None leaves its default.

    `threads` and `max_batch` are flags of its own; `coalesce` is LoadGen's coalesce_queries in user.conf;
    `intra_op_threads` comes to ONNX Runtime with the model.
    """

    threads: int | None = None
    max_batch: int | None = None
    intra_op_threads: int | None = None
    coalesce: bool = False

    def words(self) -> list[str]:
        """Returns what stands on upstream's command line."""
        pairs = (("--threads", self.threads), ("--max-batchsize", self.max_batch))
        return [word for name, value in pairs if value is not None for word in (name, str(value))]

    def __str__(self) -> str:
        given = [f"{field.name}={getattr(self, field.name)}" for field in dataclasses.fields(self)]
        return " ".join(text for text in given if not text.endswith(("=None", "=False"))) or "default"


DEFAULT_FLAGS = HarnessFlags()
# The fastest that were found on two cores. The runtime's own threads, beside upstream's, are in each other's way.
BEST_FLAGS = {
    "offline": HarnessFlags(max_batch=64, intra_op_threads=1),
    "server": HarnessFlags(intra_op_threads=1, coalesce=True),
    "single-stream": DEFAULT_FLAGS,
}


@dataclass(frozen=True)
class Upstream:
    """Upstream's harness: its main.py, and the Python that runs it."""

    main: Path
    python: str


def find(reference: Path, python: str) -> Upstream:
    """Returns the harness of a checkout; raises UsageError where it or a package that it imports is missing."""
    main = (reference / MAIN).absolute()
    if not main.is_file():
        raise UsageError(
            f"{reference} is no checkout of mlcommons/inference: it has no {MAIN}. Clone "
            "https://github.com/mlcommons/inference and name its folder with --reference."
        )
    missing = _missing(python)
    if missing:
        raise UsageError(
            f"{python} lacks {', '.join(missing)}, which upstream's harness imports. Run: {python} -m pip install "
            f"{' '.join(PACKAGES[name] for name in missing)}, or name another Python with --reference-python."
        )
    # The child runs in another folder. A link to a Python is kept: it says which packages are its own.
    return Upstream(main, os.path.abspath(python) if os.sep in python else python)


def _missing(python: str) -> list[str]:
    words = [python, "-c", FIND_MISSING.format(sorted(PACKAGES))]
    try:
        done = subprocess.run(words, capture_output=True, text=True, check=True, timeout=PROBE_TIMEOUT_S)
        missing: list[str] = json.loads(done.stdout)
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        raise UsageError(f"{python} cannot be used as a Python ({error}); name one with --reference-python.") from error
    return missing


def measure(
    upstream: Upstream,
    prepared: Prepared,
    scenario: str,
    load: LoadRules,
    hint: float,
    chosen: HarnessFlags = DEFAULT_FLAGS,
    *,
    accuracy: bool = False,
    bound_s: float | None = None,
) -> dict[str, Any]:
    """Runs one test and returns what LoadGen's logs say of it, and how it was run.

    `hint` is in the scenario's own unit. Raises RunFailed where upstream crashes, does not end within `bound_s`
    (by default START_S and PATIENCE times the least duration), answers nothing, or was not set as `load` says.
    """
    # LoadGen would log a larger count as effective, and load what there is.
    resident = min(load.performance_sample_count, len(prepared.labels))
    load = dataclasses.replace(load, performance_sample_count=resident)
    bound = START_S + PATIENCE * load.min_duration_ms / 1000 if bound_s is None else bound_s
    with tempfile.TemporaryDirectory(prefix="tandem-reference-") as name:
        folder = Path(name)
        conf = user_conf(scenario, load, hint, chosen)
        (folder / "user.conf").write_text(conf)
        words = _command(upstream, prepared, scenario, chosen, folder) + ["--accuracy"] * accuracy
        started = time.monotonic()
        _run(words, folder, bound)
        found = _read(folder / "output", prepared, scenario, load)
        took = time.monotonic() - started
    return {**found, "hint": hint, "flags": str(chosen), "took_s": took, "command": words, "user_conf": conf}


def user_conf(scenario: str, load: LoadRules, hint: float, chosen: HarnessFlags) -> str:
    """Returns the user.conf that has LoadGen do what `load` says. Without spaces round '=' it would drop a line."""
    key, factor = HINT_KEYS[scenario]
    everywhere = {
        "min_duration": load.min_duration_ms,
        "min_query_count": load.min_query_count,
        "performance_sample_count_override": load.performance_sample_count,
        "accuracy_log_sampling_target": SAMPLED_ANSWERS,
    }
    here: dict[str, float] = {key: hint * factor}
    if load.target_latency_percentile is not None:
        here["target_latency_percentile"] = load.target_latency_percentile * 100
    if load.target_latency_ms is not None:
        here["target_latency"] = load.target_latency_ms
    if chosen.coalesce:
        here["coalesce_queries"] = 1
    name = loadgen_name(scenario)
    lines = [f"*.*.{key} = {value}" for key, value in everywhere.items()]
    return "\n".join([*lines, *(f"*.{name}.{key} = {value:.12g}" for key, value in here.items()), ""])


def loadgen_name(scenario: str) -> str:
    """Returns LoadGen's name of a scenario."""
    return cast(Scenario, plugins.load("scenarios", "scenario", scenario)).LOADGEN_NAME


def _command(upstream: Upstream, prepared: Prepared, scenario: str, chosen: HarnessFlags, folder: Path) -> list[str]:
    """Returns the command line; the model is written into `folder` where it has to bring its threads."""
    model, samples = prepared.model.absolute(), str(prepared.samples.absolute())
    # Without USE_GPU=no upstream asks for CUDA wherever the runtime knows of it. Its checkout stays as it is.
    environment = ["env", "USE_GPU=no", "PYTHONDONTWRITEBYTECODE=1"]
    if chosen.intra_op_threads is not None:
        environment.append(f"{reference_model.LOAD_CONFIG}=1")
        content = reference_model.with_intra_op_threads(model.read_bytes(), chosen.intra_op_threads)
        model = folder / "model.onnx"
        model.write_bytes(content)
    words = [*environment, upstream.python, str(upstream.main), "--scenario", loadgen_name(scenario)]
    words += ["--backend", "onnxruntime", "--model", str(model), "--model-name", prepared.workload]
    words += ["--dataset", "imagenet_pytorch", "--use_preprocessed_dataset"]
    words += ["--dataset-path", samples, "--preprocessed_dir", samples]
    return [*words, "--user_conf", "user.conf", "--output", "output", *chosen.words()]


def _run(words: list[str], folder: Path, bound_s: float) -> None:
    """Runs the harness in `folder` to its end; raises RunFailed where that is none that counts."""
    log = folder / "log.txt"
    with log.open("wb") as output:
        child = subprocess.Popen(
            words, cwd=folder, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
        )
        try:
            code = child.wait(bound_s)
        except subprocess.TimeoutExpired:
            raise RunFailed(
                f"Upstream's harness did not end within {bound_s:.3g} s and was killed{_last(log)}"
            ) from None
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)
            child.wait()
    if code:
        raise RunFailed(f"Upstream's harness ended with code {code}{_last(log)}")
    # Python's logging starts an error so; upstream writes one for each batch that its model failed on.
    failures = [line for line in log.read_text(errors="replace").splitlines() if line.startswith("ERROR:")]
    if failures:
        raise RunFailed(f"Upstream's harness reported {len(failures)} errors, the first of them {failures[0]!r}.")


def _last(log: Path) -> str:
    lines = log.read_text(errors="replace").strip().splitlines()
    return f"; its last words: {lines[-1][:300]!r}." if lines else "; it said nothing."


def _read(folder: Path, prepared: Prepared, scenario: str, load: LoadRules) -> dict[str, Any]:
    """Returns the facts of a test from the logs in `folder`."""
    try:
        result = logs.read(folder)
        if not result.finished:
            raise logs.LogError(f"{folder / logs.SUMMARY} has no end.")
        _check(result, scenario, load, len(prepared.labels))
        logged = answers.read_log(folder / logs.ANSWERS)
        values = logged.decode("float32")
    except (logs.LogError, UsageError) as error:
        raise RunFailed(f"Upstream's harness left no sound log of LoadGen's: {error}") from error
    if not len(values):
        raise RunFailed("Upstream's harness left no answers in LoadGen's log.")
    right = (values == prepared.labels[logged.indices]).mean() * 100
    return {
        "scenario": scenario,
        "mode": result.mode,
        "valid": result.validity == "VALID" and not result.error_count,
        "why_not": [text for text in (result.text("result_invalid_reason"), *result.errors) if text],
        "samples_per_second": result.number(RATES[scenario]),
        "percentiles_ns": result.percentiles_ns,
        "queries": result.number("result_query_count"),
        "answers": len(logged.indices),
        "right_percent": float(right),
        "loadgen_version": result.loadgen_version,
    }


def _check(result: logs.RunResult, scenario: str, load: LoadRules, total: int) -> None:
    """Raises RunFailed where LoadGen has not taken what user.conf says, which it does without a word."""
    meant = {
        "effective_scenario": loadgen_name(scenario),
        "effective_min_duration_ms": load.min_duration_ms,
        # In Offline the effective one is always 1.
        "requested_min_query_count": load.min_query_count,
        "effective_performance_sample_count": load.performance_sample_count,
        "qsl_reported_total_count": total,
    }
    if load.target_latency_ms is not None:
        meant["effective_target_latency_ns"] = round(load.target_latency_ms * 1e6)
    for key, value in meant.items():
        if result.values.get(key) != value:
            raise RunFailed(
                f"Upstream's harness ran with {key} = {result.values.get(key)}, not {value}; its figures are not ours."
            )


def until_valid(attempt: Callable[[float], dict[str, Any]], scenario: str, hint: float) -> dict[str, Any]:
    """Returns the first VALID of at most HINT_TRIES tests, else the last; each takes the hint that the one before gave.

    LoadGen calls a test of Offline or a stream INVALID where it was faster than the hint, and so too short.
    """
    found = attempt(hint)
    for _ in range(HINT_TRIES - 1):
        if found["valid"]:
            break
        # Offline generates 1.1 times the hint, a stream twice: both leave room for a test that goes faster.
        hint = 1.3 * found["samples_per_second"] if scenario == "offline" else 0.7 * found["percentiles_ns"][0.5]
        found = attempt(hint)
    return found


def highest_valid_qps(
    valid_at: Callable[[float], bool], start: float, *, tries: int = 10, precision: float = 0.05
) -> float | None:
    """Returns the highest load found that `valid_at` holds, None where it holds none of `tries` loads.

    From `start` the load is doubled or halved until one holds and one does not; then the gap is halved, as a ratio,
    until it is at most `precision`. A load that fails is tried once more: a stall of the machine may have failed it.
    """
    held: float | None = None
    failed: float | None = None
    load = start
    for _ in range(tries):
        if valid_at(load) or valid_at(load):
            held = load
        else:
            failed = load
        if held is None or failed is None:
            load = load / 2 if held is None else load * 2
        elif failed / held <= 1 + precision:
            break
        else:
            load = (held * failed) ** 0.5
    return held


def prepared_here(workload_name: str, cache: Path, data: Path, *, null: bool = False) -> Prepared:
    """Returns a workload's exported reference, or the model that computes nothing, and its samples, from the cache."""
    workload = plugins.workload(workload_name)
    own = cache / "reference-harness"
    if null:
        model = own / f"{workload_name}-null.onnx"
        write_atomically(model, reference_model.null_model(workload))
    else:
        say("preparing the model")
        model = artifacts.prepare(workload, ("onnx",), data, cache).path
    say("preparing the samples")
    return prepare(workload, model, data, own)


def _chosen(scenario: str) -> HarnessFlags:
    """Returns the flags that were asked for: upstream's defaults or the best, and what was given beside them."""
    given = {"threads": THREADS.value, "max_batch": MAX_BATCH.value, "intra_op_threads": INTRA_OP.value}
    changed: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    if COALESCE.value:
        changed["coalesce"] = True
    return dataclasses.replace(BEST_FLAGS[scenario] if BEST.value else DEFAULT_FLAGS, **changed)


HEADS = f"{'scenario':<15}{'VALID':<7}{'samples/s':>11}{'hint':>12}{'p50 ms':>10}{'p99 ms':>10}{'right %':>9}  flags"


def row(found: dict[str, Any]) -> str:
    """Returns a test's line of the table; an accuracy test has neither a speed nor latencies."""
    latencies = found["percentiles_ns"]
    columns = [found["samples_per_second"], found["hint"], *(latencies.get(p) for p in (0.5, 0.99))]
    scales, formats = (1, 1, 1e-6, 1e-6), (">11,.0f", ">12,.6g", ">10.4f", ">10.4f")
    cells = [
        "-".rjust(int(form[1:3])) if value is None else format(value * scale, form)
        for value, scale, form in zip(columns, scales, formats, strict=True)
    ]
    valid = "-" if found["mode"] == "AccuracyOnly" else "yes" if found["valid"] else "no"
    return f"{found['scenario']:<15}{valid:<7}{''.join(cells)}{found['right_percent']:>9.2f}  {found['flags']}"


def main(arguments: list[str]) -> int:
    """Prints a line a test, and in Server without --qps the highest load that was VALID."""
    interrupts.install()
    upstream = find(Path(REFERENCE.value), PYTHON.value)
    scenario, chosen = SCENARIO.value, _chosen(SCENARIO.value)
    workload = plugins.workload(WORKLOAD.value)
    cache = cache_dir(CACHE.value, os.environ)
    data = data_dir(DATA.value, os.environ, cache, workload.dataset_name)
    prepared = prepared_here(WORKLOAD.value, cache, data, null=NULL.value)
    load = rules.load("quick").load_rules(scenario, workload.dataset_name)
    load = dataclasses.replace(load, min_duration_ms=round(SECONDS.value * 1000))

    def attempt(hint: float) -> dict[str, Any]:
        say(f"{scenario}: {load.min_duration_ms / 1000:g} s, hint {hint:,.6g}")
        found = measure(upstream, prepared, scenario, load, hint, chosen, accuracy=ACCURACY.value)
        print(row(found), flush=True)
        return found

    print(HEADS, flush=True)
    if scenario == "server" and not QPS.value and not ACCURACY.value:
        highest = highest_valid_qps(lambda qps: bool(attempt(qps)["valid"]), FIRST_HINTS[scenario])
        print("no load was VALID" if highest is None else f"highest VALID: {highest:,.0f} queries/s")
    elif ACCURACY.value or scenario == "server":
        attempt(QPS.value or FIRST_HINTS[scenario])
    else:
        until_valid(attempt, scenario, FIRST_HINTS[scenario])
    return 0


if __name__ == "__main__":
    sys.exit(run(main, FLAGS))
