"""Says where the accuracy went: which layers a recipe's loss comes from, and what it loses without them.

    python -m tools.blame --workload fashion-mobilenet --optimize quantize:int8

The recipe's last step that makes a model is applied to one layer alone, and to all but one; the layers are ranked by
the answers that this changes. Then the worst are left as they were, one after another, and all of the evaluation set is
answered, until the loss is certified to be within the margin that the target allows. Exit codes: 0 it is said, or there
is nothing to blame, 2 the command was wrong, or no layer can be left out, 3 a model could not be made or asked, 130
interrupted.
"""

import os
import sys
from collections.abc import Mapping
from pathlib import Path

from absl import flags

from common.errors import UsageError
from common.files import canonical_json, write_atomically
from common.flags import new_flags, run
from suite import interrupts, places
from suite.environment import ROOMS, ROOT, fingerprint, refuse_within, source_digest
from suite.progress import say
from tools.blame import conduct, picture, report
from tools.blame.conduct import Question

FLAGS = new_flags()
WORKLOAD = flags.DEFINE_string("workload", "fashion-resnet", "what is run", flag_values=FLAGS)
BACKEND = flags.DEFINE_string("backend", "onnxruntime", "what runs it", flag_values=FLAGS)
OPTIMIZE = flags.DEFINE_string("optimize", "", "the recipe whose last making step is blamed", flag_values=FLAGS)
MOST = flags.DEFINE_integer("most", 8, "layers to leave as they were, at most", lower_bound=1, flag_values=FLAGS)
SPEED = flags.DEFINE_bool("speed", True, "time what comes of it beside the reference", flag_values=FLAGS)
OUT = flags.DEFINE_string("out", "blame", "folder of blame.json, .csv, .svg and .png", flag_values=FLAGS)
DATA = flags.DEFINE_string("data_dir", "", "the dataset (default: $TANDEM_DATA, else the cache's)", flag_values=FLAGS)
CACHE = flags.DEFINE_string("cache_dir", "", "the cache (default: $TANDEM_CACHE or ~/.cache/tandem)", flag_values=FLAGS)


def main(arguments: list[str]) -> int:
    """Asks, reports and writes."""
    interrupts.install()
    folder = Path(OUT.value)
    for room in ROOMS:
        refuse_within(str(ROOT / room), {"--out": str(folder)})
    cache = places.cache_dir(CACHE.value, os.environ)
    question = Question(
        workload=WORKLOAD.value,
        backend=BACKEND.value,
        recipe=OPTIMIZE.value,
        most=MOST.value,
        speed=SPEED.value,
        cache=cache,
        data_dir=lambda dataset: str(places.data_dir(DATA.value, os.environ, cache, dataset)),
    )
    found = conduct.answer(question)
    print(report.text(found))
    say("blame: writing the report")
    said = {**report.record(found), "fingerprint": fingerprint("cpu"), "source_sha256": source_digest()}
    files = {"json": canonical_json(said).encode(), "csv": report.table(found).encode()}
    if found.effects:
        files |= picture.draw(found)
    _write(folder, files)
    print(f"\nreport: {', '.join(str(folder / f'blame.{suffix}') for suffix in files)}")
    return 0


def _write(folder: Path, files: Mapping[str, bytes]) -> None:
    """Writes the files by their endings, and deletes a picture that is left of another recipe."""
    try:
        for suffix in ("json", "csv", "svg", "png"):
            path = folder / f"blame.{suffix}"
            if suffix in files:
                write_atomically(path, files[suffix])
            else:
                path.unlink(missing_ok=True)
    except OSError as error:
        raise UsageError(f"The report cannot be written to {folder} ({error.strerror or error}).") from error


if __name__ == "__main__":
    sys.exit(run(main, FLAGS))
