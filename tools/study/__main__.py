"""Runs the study: every optimization's throughput and accuracy beside the reference's, and what of it counts.

    python -m tools.study --workloads all --quick --out study/
    python -m tools.study --budget 90m --out study/
    python -m tools.study --quick --end-to-end --out whole/
    python -m tools.study --best --budget 20m --workload fashion-mobilenet --out best/
    python -m tools.study --best --scenario server --workload fashion-resnet --out best-server/
    python -m tools.study --merge study/ --merge other-machines-study/ --out merged/

Start it again with the same folder to go on where it ended: nothing that is finished is done again. At the end it
writes study.md, study.html, study.csv, ledger.csv (answers by class and by confidence) and pictures. With --best it
seeks the fastest variant that counts within a budget of time, and writes best.md and best.json; with --merge it sets
studies of several machines beside one another, and writes merged.md and merged.csv. Exit codes: 0 it is finished, 2 the
command was wrong or its files cannot be kept, 3 (--best) the reference could not be measured, 130 interrupted.
"""

import os
import sys
from collections.abc import Mapping
from math import inf
from pathlib import Path

from absl import flags

from common.errors import UsageError
from common.files import canonical_json, write_atomically
from common.flags import new_flags, run
from suite import interrupts, places, plugins
from suite.environment import ROOMS, ROOT, refuse_within
from suite.progress import say
from tools.study import (
    best,
    best_report,
    clock,
    conduct,
    findings,
    ledger,
    merge,
    merge_report,
    page,
    picture,
    ranking,
    report,
    shelf,
    table,
)
from tools.study.contests import Places
from tools.study.plan import ALL, Study, default, read
from tools.study.words import unlinked

FLAGS = new_flags()
WORKLOADS = flags.DEFINE_list("workloads", [ALL], "what is studied", flag_values=FLAGS)
flags.DEFINE_alias("workload", "workloads", flag_values=FLAGS)
QUICK = flags.DEFINE_bool("quick", False, "eleven recipes, Offline alone, short blocks", flag_values=FLAGS)
PLAN = flags.DEFINE_string("plan", "", "TOML file: workloads, backends, recipes, blocks, ...", flag_values=FLAGS)
END_TO_END = flags.DEFINE_bool(
    "end_to_end", False, "samples are decoded and preprocessed inside what is timed", flag_values=FLAGS
)
BEST = flags.DEFINE_bool("best", False, "seek the fastest that counts instead", flag_values=FLAGS)
SCENARIO = flags.DEFINE_string("scenario", "offline", "of --best: in which scenario", flag_values=FLAGS)
BACKEND = flags.DEFINE_string("backend", "onnxruntime", "of --best: on which backend", flag_values=FLAGS)
BUDGET = flags.DEFINE_string(
    "budget", "", "time to take at most: 90s, 20m, 1h (default: 20m with --best, else none)", flag_values=FLAGS
)
MERGE = flags.DEFINE_multi_string("merge", [], "folder of a study to merge with others", flag_values=FLAGS)
OUT = flags.DEFINE_string("out", "", "folder to write to (default: study, best or merged)", flag_values=FLAGS)
RETRY = flags.DEFINE_bool(
    "retry_failed", False, "try again what failed, and full runs that were not valid", flag_values=FLAGS
)
DATA = flags.DEFINE_string("data_dir", "", "the dataset (default: $TANDEM_DATA, else the cache's)", flag_values=FLAGS)
CACHE = flags.DEFINE_string("cache_dir", "", "the cache (default: $TANDEM_CACHE or ~/.cache/tandem)", flag_values=FLAGS)

BEST_BUDGET = "20m"
ONLY_BEST = ("scenario", "backend")
# What a plan says in its place.
OF_PLAN = ("workloads", "quick", "end_to_end", *ONLY_BEST)
ONLY_STUDY = (*OF_PLAN, "plan", "retry_failed")


def main(arguments: list[str]) -> int:
    """Carries out what is asked for as far as it is not, and reports."""
    interrupts.install()
    _check_flags()
    name, carry_out = ("merged", _merge) if MERGE.value else ("best", _seek) if BEST.value else ("study", _study_all)
    folder = Path(OUT.value or name)
    for room in ROOMS:
        refuse_within(str(ROOT / room), {"--out": str(folder)})
    cache = places.cache_dir(CACHE.value, os.environ)
    carry_out(Places(folder, cache, lambda dataset: str(places.data_dir(DATA.value, os.environ, cache, dataset))))
    return 0


def _check_flags() -> None:
    said = [flag for flag in OF_PLAN if FLAGS[flag].present]
    if PLAN.value and said:
        raise UsageError(f"--plan says what is studied: leave out --{said[0].replace('_', '-')}.")
    alone = [flag for flag in ONLY_BEST if FLAGS[flag].present]
    if alone and not (BEST.value or MERGE.value):
        raise UsageError(f"--{alone[0]} is for --best. Which ones a study is of is in its --plan: {alone[0]}s.")
    others = [flag for flag in ("best", "budget", *ONLY_STUDY) if FLAGS[flag].present]
    if MERGE.value and others:
        raise UsageError(f"--merge measures nothing: leave out --{others[0].replace('_', '-')}.")


def _study_all(where: Places) -> None:
    study = (
        read(Path(PLAN.value))
        if PLAN.value
        else default(WORKLOADS.value, quick=QUICK.value, end_to_end=END_TO_END.value)
    )
    folder = where.folder
    budget_s = clock.seconds(BUDGET.value) if FLAGS["budget"].present else inf
    took = conduct.carry_out(study, where, budget_s, retry=RETRY.value)
    rows = findings.rows(study, folder, where.data_dir)
    about = [_machine(folder), clock.sentence(took, budget_s)]
    _write(folder, rows, about)
    print(f"{unlinked(report.first_screen(rows, about))}\n")
    if left_out := sum(row.state == findings.LEFT_OUT for row in rows):
        print(f"{left_out} of {len(rows)} cells were not measured, for lack of time: a larger --budget goes on.")
    if untimed := sum(row.untimed for row in rows):
        print(f"{untimed} of {len(rows)} have an accuracy alone, for lack of time: a larger --budget goes on.")
    if missing := sum(len(row.missing) for row in rows):
        print(f"{missing} repetitions are missing: they failed, or a larger --budget goes on with them.")
    names = ("study.md", "study.html", "study.csv", "ledger.csv")
    print(f"report: {', '.join(str(folder / name) for name in names)}")


def _seek(where: Places) -> None:
    budget_s = clock.seconds(BUDGET.value if FLAGS["budget"].present else BEST_BUDGET)
    study = read(Path(PLAN.value)) if PLAN.value else _searched()
    search, folder = best.search_of(study), where.folder
    scenario = search.reference.scenario
    least_s = best.runs_needed(search) * conduct.run_s(scenario)
    if budget_s < least_s:
        raise UsageError(
            f"--budget is '{BUDGET.value}', and the full runs that it takes in {scenario} to name a winner last about "
            f"{least_s:.0f} seconds. Give several times that."
        )
    found, took = best.carry_out(search, where, budget_s, retry=RETRY.value)
    target = plugins.workload(search.reference.workload).target
    text = best_report.markdown(found, target, [clock.sentence(took, budget_s), _machine(folder)])
    record = best_report.record(found, target, {"took_s": took, "budget_s": budget_s})
    _keep(folder, {"best.md": text.encode(), "best.json": canonical_json(record).encode()})
    print(text)
    print(f"report: {folder / 'best.md'}, {folder / 'best.json'}")


def _searched() -> Study:
    return best.default(WORKLOADS.value, BACKEND.value, SCENARIO.value, quick=QUICK.value, end_to_end=END_TO_END.value)


def _merge(where: Places) -> None:
    folder = where.folder
    members = merge.read([Path(one) for one in MERGE.value], folder, where.data_dir)
    text = merge_report.markdown(members)
    _keep(folder, {"merged.md": text.encode(), "merged.csv": merge_report.csv_table(members).encode()})
    print("\n## ".join(text.split("\n## ")[:2]))
    print(f"report: {folder / 'merged.md'}, {folder / 'merged.csv'}")


# What a throughput depends on most, beside the machine.
RUNTIMES = ("onnxruntime", "torch", "torchao")


def _machine(folder: Path) -> str:
    machine = shelf.machine(folder)
    runtimes = ", ".join(f"{name} {machine['packages'][name]}" for name in RUNTIMES if name in machine["packages"])
    return (
        f"Machine: {machine['cpu_model']} ({machine['cpu_kind']}), {machine['cores']} cores, "
        f"Linux {machine['kernel']}, {runtimes}."
    )


def _write(folder: Path, rows: list[findings.Row], about: list[str]) -> None:
    say("study: writing the report")
    groups = ranking.groups(rows)
    drawn = {report.picture(title): picture.draw(own, title) for title, own in groups}
    drawn |= {report.picture(title, chains=True): picture.waterfall(own, title) for title, own in groups}
    files = {f"{name}.{end}": data for name, ends in drawn.items() for end, data in ends.items()}
    drawings = {name: ends["svg"].decode() for name, ends in drawn.items() if ends}
    texts = {"csv": table.table(rows), "md": report.markdown(rows, about), "html": page.page(rows, about, drawings)}
    files |= {f"study.{suffix}": text.encode() for suffix, text in texts.items()}
    files["ledger.csv"] = ledger.ledger(rows).encode()
    _keep(folder, files)


def _keep(folder: Path, files: Mapping[str, bytes]) -> None:
    try:
        for name, content in files.items():
            write_atomically(folder / name, content)
    except OSError as error:
        raise UsageError(f"The report cannot be written to {folder} ({error.strerror or error}).") from error


if __name__ == "__main__":
    sys.exit(run(main, FLAGS))
