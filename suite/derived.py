"""Models that a step of a recipe makes of another one, kept on the cache's shelf.

The key is the digest of all that goes into such a model: the model that it is made of, the step, the step's own source,
the packages that it uses, and the training samples that it looks at.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from common.errors import UsageError
from common.files import digest_of, sha256_file
from reference_models.base import Model, Workload
from suite import recipes, shelf
from suite.environment import packages
from suite.recipes import Maker, Step


def cached(step: Step, model: Model, workload: Workload, cache: Path) -> Model | None:
    """Returns what a step has made of a model, None where it has not yet; raises UsageError where that is corrupt."""
    return shelf.cached(cache, _key(step, model, workload))


def make(step: Step, model: Model, workload: Workload, data: Path, cache: Path) -> None:
    """Has a step make its model of another and keeps it.

    `data` is the folder of the workload's dataset; raises UsageError where its training samples are wanted and missing.
    """
    maker = recipes.maker(step.name)
    count = maker.samples_wanted(step.parameters)
    calibration = workload.calibrate(data, count) if count else None
    card: dict[str, Any] = {"format": model.format, "versions": _versions(maker), "chain": [*model.chain]}
    said = recipes.canonical([step])
    if calibration:
        said += f", by {count} training samples"
        card["calibration"] = {"dataset": workload.dataset_name, "indices": list(calibration.indices)}
    card["chain"].append(said)

    def write(path: Path) -> Mapping[str, Any]:
        return maker.make(model.path, path, step.parameters, calibration.samples if calibration else None)

    shelf.publish(cache, _key(step, model, workload), card, write)


def _key(step: Step, model: Model, workload: Workload) -> str:
    maker = recipes.maker(step.name)
    if model.format not in maker.FORMATS:
        raise UsageError(f"{step.name} makes its model of one in {' or '.join(maker.FORMATS)}, not in {model.format}.")
    wants_samples = bool(maker.samples_wanted(step.parameters))
    return digest_of(
        {
            "schema": shelf.SCHEMA,
            "source": model.sha256,
            "chain": list(model.chain),
            "step": recipes.canonical([step]),
            "maker": sha256_file(Path(str(maker.__file__))),
            "versions": _versions(maker),
            "training": workload.training_sha256 if wants_samples else None,
        }
    )


def _versions(maker: Maker) -> dict[str, str]:
    installed = packages()
    return {name: installed[name] for name in maker.PACKAGES if name in installed}
