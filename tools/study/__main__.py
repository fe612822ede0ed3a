"""Runs the study: every optimization's throughput and accuracy beside the reference's, and what of it counts.

    python -m tools.study --workloads all --quick --out study/

Start it again with the same folder to go on where it ended: nothing that is finished is done again. At the end it
writes study.md, study.html, study.csv and a picture a workload. Exit codes: 0 the study is finished, 2 the command was
wrong or its files cannot be kept, 130 interrupted.
"""

import os
import sys
from pathlib import Path

from absl import flags

from common.errors import UsageError
from common.files import write_atomically
from common.flags import new_flags, run
from suite import interrupts, places
from suite.environment import ROOMS, ROOT, refuse_within
from suite.progress import say
from tools.study import conduct, findings, page, picture, report, shelf, table
from tools.study.conduct import Places
from tools.study.plan import ALL, Study, default, read

FLAGS = new_flags()
WORKLOADS = flags.DEFINE_list("workloads", [ALL], "what is studied", flag_values=FLAGS)
QUICK = flags.DEFINE_bool("quick", False, "a dozen recipes, short blocks, few full runs", flag_values=FLAGS)
PLAN = flags.DEFINE_string("plan", "", "TOML file: workloads, backends, recipes, blocks, ...", flag_values=FLAGS)
OUT = flags.DEFINE_string("out", "study", "folder of the study", flag_values=FLAGS)
RETRY = flags.DEFINE_bool("retry_failed", False, "try cells again that failed", flag_values=FLAGS)
DATA = flags.DEFINE_string("data_dir", "", "the dataset (default: $TANDEM_DATA, else the cache's)", flag_values=FLAGS)
CACHE = flags.DEFINE_string("cache_dir", "", "the cache (default: $TANDEM_CACHE or ~/.cache/tandem)", flag_values=FLAGS)


def main(arguments: list[str]) -> int:
    """Carries the study out as far as it is not, and reports."""
    interrupts.install()
    study, folder = _study(), Path(OUT.value)
    for room in ROOMS:
        refuse_within(str(ROOT / room), {"--out": str(folder)})
    cache = places.cache_dir(CACHE.value, os.environ)
    where = Places(folder, cache, lambda dataset: str(places.data_dir(DATA.value, os.environ, cache, dataset)))
    if RETRY.value:
        shelf.forget_failures(folder, study.cells)
    conduct.carry_out(study, where)
    rows = findings.rows(study, folder, where.data_dir)
    machine = shelf.machine(folder)
    _write(folder, rows, [f"Machine: {machine['cpu_model']}, {machine['cores']} cores, Linux {machine['kernel']}."])
    print((folder / "study.md").read_text(encoding="utf-8").partition("\n## ")[0].rstrip())
    print(f"\nreport: {folder / 'study.md'}, {folder / 'study.html'}, {folder / 'study.csv'}")
    return 0


def _study() -> Study:
    if PLAN.value and (QUICK.value or FLAGS["workloads"].present):
        raise UsageError("--plan says what is studied: leave out --quick and --workloads.")
    return read(Path(PLAN.value)) if PLAN.value else default(WORKLOADS.value, quick=QUICK.value)


def _write(folder: Path, rows: list[findings.Row], about: list[str]) -> None:
    say("study: writing the report")
    pictures = {title: picture.draw(own, title) for title, own in report.groups(rows)}
    files = {report.picture(title, end): data for title, drawn in pictures.items() for end, data in drawn.items()}
    drawings = {title: drawn["svg"].decode() for title, drawn in pictures.items()}
    texts = {"csv": table.table(rows), "md": report.markdown(rows, about), "html": page.page(rows, about, drawings)}
    files |= {f"study.{suffix}": text.encode() for suffix, text in texts.items()}
    try:
        for name, content in files.items():
            write_atomically(folder / name, content)
    except OSError as error:
        raise UsageError(f"The report cannot be written to {folder} ({error.strerror or error}).") from error


if __name__ == "__main__":
    sys.exit(run(main, FLAGS))
