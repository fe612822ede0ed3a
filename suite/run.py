"""Runs a benchmark: performance, accuracy, or both with the verdict whether the throughput counts.

stdout carries the result, stderr progress and warnings. Exit codes: 0 it counts (or is valid, or complete), 1 it does
not, 2 the command was wrong or refused before anything started, 3 a run failed, 130 interrupted.
"""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from absl import flags

from common.flags import new_flags, run
from suite import interrupts, places
from suite.plan import Asked, resolve

FLAGS = new_flags()


def _flag(define: Any, name: str, default: Any, help_text: str) -> None:
    define(name, default, help_text, flag_values=FLAGS)


_flag(flags.DEFINE_string, "workload", "fashion-resnet", "what is run")
_flag(flags.DEFINE_string, "backend", "onnxruntime", "what runs it; a dotted name is a module from outside the tree")
_flag(flags.DEFINE_string, "scenario", "offline", "single-stream, multi-stream, server or offline")
_flag(
    flags.DEFINE_string,
    "mode",
    "submission",
    "performance, accuracy, submission: both and the verdict; peak: server's highest load, then both",
)
_flag(flags.DEFINE_string, "profile", "quick", "quick: seconds, never submittable; official: the round's rules")
_flag(flags.DEFINE_string, "optimize", "", "recipe of optimizations, as in fuse:compile; empty is the reference")
_flag(flags.DEFINE_string, "backend_options", "", "runtime options of the backend: name=value,name=value")
_flag(
    flags.DEFINE_float,
    "target_qps",
    None,
    "server: queries/s to hold; offline: samples/s expected (default: measured)",
)
_flag(flags.DEFINE_float, "expected_latency_ms", None, "streams: expected latency of a query (default: measured)")
_flag(flags.DEFINE_bool, "coalesce_queries", None, "server: queries already due come in one call")
_flag(flags.DEFINE_string, "user_conf", "", "LoadGen's user.conf: load hints and coalescing; flags come first")
_flag(flags.DEFINE_integer, "max_batch", None, "largest batch (default: searched)")
_flag(flags.DEFINE_integer, "max_wait_us", None, "longest wait of a batch that is not full (default: 0)")
_flag(flags.DEFINE_integer, "sessions", None, "sessions side by side (default: searched)")
_flag(flags.DEFINE_integer, "threads", None, "CPU threads of a session (default: searched)")
_flag(flags.DEFINE_integer, "prefetch", None, "threads of a session that gather the next batches (default: 0)")
_flag(flags.DEFINE_string, "device", "auto", "auto, cpu or cuda")
_flag(flags.DEFINE_bool, "end_to_end", False, "decode and preprocess samples inside the measured region")
_flag(
    flags.DEFINE_string,
    "pin",
    "auto",
    "cores that the sessions share, as in 0-3,8; all; off: anywhere; auto: as found best",
)
_flag(
    flags.DEFINE_string,
    "keep_awake",
    "auto",
    "whether idle cores poll instead of halting: on, off; auto: in server, where this user may ask Linux for it",
)
_flag(
    flags.DEFINE_bool, "search_again", False, "search batch, sessions and threads again instead of using what was kept"
)
_flag(
    flags.DEFINE_bool,
    "tune",
    None,
    "race the best servings against one another before the runs (default: in the official profile)",
)
_flag(flags.DEFINE_float, "tune_seconds", None, "longest time for tuning, which it turns on (default: 60)")
_flag(
    flags.DEFINE_integer,
    "retry",
    None,
    "tries after an invalid run, as advised (default: 1 where the load was measured)",
)
_flag(flags.DEFINE_float, "stall_timeout", 60.0, "seconds without progress after which a run is ended")
_flag(flags.DEFINE_bool, "stages", False, "say where the time of a sample goes: table, picture, evidence")
_flag(flags.DEFINE_bool, "save_outputs", False, "keep the raw outputs of an accuracy run beside its log")
_flag(flags.DEFINE_string, "data_dir", "", "folder of the dataset's files (default: $TANDEM_DATA, else the cache)")
_flag(flags.DEFINE_string, "cache_dir", "", "data, artifacts, searches (default: $TANDEM_CACHE, else ~/.cache/tandem)")
_flag(flags.DEFINE_string, "results_dir", "results", "where evidence goes")
_flag(flags.DEFINE_bool, "json", False, "print the result as one JSON object")
_flag(flags.DEFINE_bool, "list", False, "list workloads, backends, optimizations, scenarios, and what can run here")


def main(arguments: list[str]) -> int:
    """Does what the flags ask and returns the exit code."""
    interrupts.install()
    if FLAGS.list:
        from suite.listing import listing

        print(listing(FLAGS.json, _data_dir(_cache())))
        return 0
    plan = resolve(_asked())
    from suite.execute import execute
    from suite.report import report

    outcome = execute(plan)
    print(report(outcome, as_json=FLAGS.json))
    return outcome.exit_code


def _asked() -> Asked:
    """Returns what the command line and the environment say, and nothing more is read from either later."""
    cache = _cache()
    return Asked(
        workload=FLAGS.workload,
        backend=FLAGS.backend,
        scenario=FLAGS.scenario,
        mode=FLAGS.mode,
        profile=FLAGS.profile,
        optimize=FLAGS.optimize,
        backend_options=FLAGS.backend_options,
        batch=FLAGS.max_batch,
        max_wait_us=FLAGS.max_wait_us,
        sessions=FLAGS.sessions,
        threads=FLAGS.threads,
        device=FLAGS.device,
        pin=FLAGS.pin,
        end_to_end=FLAGS.end_to_end,
        keep_awake=FLAGS.keep_awake,
        prefetch=FLAGS.prefetch,
        search_again=FLAGS.search_again,
        tune=FLAGS.tune,
        tune_seconds=FLAGS.tune_seconds,
        target_qps=FLAGS.target_qps,
        expected_latency_ms=FLAGS.expected_latency_ms,
        coalesce_queries=FLAGS.coalesce_queries,
        user_conf=FLAGS.user_conf,
        data_dir=_data_dir(cache),
        cache_dir=str(cache),
        results_dir=FLAGS.results_dir,
        stall_timeout_s=FLAGS.stall_timeout,
        retries=FLAGS.retry,
        save_outputs=FLAGS.save_outputs,
        stages=FLAGS.stages,
    )


def _cache() -> Path:
    return places.cache_dir(FLAGS.cache_dir, os.environ)


def _data_dir(cache: Path) -> Callable[[str], str]:
    return lambda dataset: str(places.data_dir(FLAGS.data_dir, os.environ, cache, dataset))


if __name__ == "__main__":
    sys.exit(run(main, FLAGS))
