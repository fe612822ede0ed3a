"""Models that a step of a recipe makes of another one, kept on the cache's shelf.

The key is the digest of all that goes into such a model: the model that it is made of, the network where that holds
weights alone, the step, the sources of all steps, the packages that it uses, and the training samples that it looks at
with the sources that draw them.
"""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

from common.errors import UsageError
from common.files import digest_of, sha256_file, tree_digest
from reference_models import forms
from reference_models.base import Calibration, Dataset, Model, Workload
from suite import artifacts, export_program, recipes, shelf
from suite.environment import packages
from suite.recipes import Maker, NetworkMaker, Step

STEPS = Path(__file__).parent / "optimizations"
# So many of the evaluation set are looked at, at a time, for one that is a training sample too.
COMPARED = 256


def cached(step: Step, model: Model, workload: Workload, cache: Path) -> Model | None:
    """Returns what a step has made of a model, None where it has not yet; raises UsageError where that is corrupt."""
    return shelf.cached(cache, _key(step, model, workload))


def make(
    step: Step,
    model: Model,
    workload: Workload,
    data: Path,
    cache: Path,
    beat: Callable[[int], None] = lambda samples: None,
) -> None:
    """Has a step make its model of another, train it where it asks for that, and keeps it.

    `data` is the folder of the workload's dataset; `beat` is told of samples that training went through. Raises
    UsageError where training samples are wanted and missing.
    """
    maker = recipes.maker(step.name)
    count = maker.samples_wanted(step.parameters)
    calibration = workload.calibrate(data, count) if count else None
    if calibration:
        _check_apart(calibration, workload.open_dataset(data))
    card: dict[str, Any] = {"format": model.format, "versions": _versions(maker), "chain": [*model.chain]}
    said = recipes.canonical([step])
    if calibration:
        said += f", by {len(calibration.indices)} training samples"
        card["calibration"] = {"dataset": workload.dataset_name, "indices": list(calibration.indices)}
    card["chain"].append(said)
    samples = recipes.form(model.chain).of_samples(calibration.samples, workload.normalization) if calibration else None

    def write(path: Path) -> Mapping[str, Any]:
        given = model.path, path, step.parameters, samples
        if model.format == artifacts.WEIGHTS:
            return cast(NetworkMaker, maker).make_of_network(workload, *given)
        input_maker = recipes.input_maker(step)
        facts = input_maker.make(*given, workload.normalization) if input_maker else maker.make(*given)
        if samples is not None and (trainer := recipes.trainer(step)):
            facts |= trainer.train(model.path, path, step.parameters, samples, beat)
        return facts

    shelf.publish(cache, _key(step, model, workload), card, write)


def _check_apart(calibration: Calibration, dataset: Dataset) -> None:
    """Raises UsageError where a training sample is one of those that a model is judged by."""
    drawn = {sample.tobytes(): index for sample, index in zip(calibration.samples, calibration.indices, strict=True)}
    for start in range(0, dataset.total, COMPARED):
        indices = range(start, min(start + COMPARED, dataset.total))
        dataset.load(indices)
        for judged, sample in zip(indices, dataset.batch(indices), strict=True):
            if sample.tobytes() in drawn:
                raise UsageError(
                    f"Training sample {drawn[sample.tobytes()]} is sample {judged} of the evaluation set: what is set "
                    "by it would be judged by itself. Have the workload's calibrate leave it out."
                )
    dataset.unload()


def _key(step: Step, model: Model, workload: Workload) -> str:
    maker = recipes.maker(step.name)
    if model.format not in maker.FORMATS:
        raise UsageError(f"{step.name} makes its model of one in {' or '.join(maker.FORMATS)}, not in {model.format}.")
    return digest_of(
        {
            "schema": shelf.SCHEMA,
            "source": model.sha256,
            "chain": list(model.chain),
            "step": recipes.canonical([step]),
            "steps": tree_digest(STEPS, [STEPS], {".py"}),
            "versions": _versions(maker),
            "normalization": asdict(workload.normalization) if recipes.input_maker(step) else None,
            "training": _training(workload) if maker.samples_wanted(step.parameters) else None,
            # What is made of weights alone is made of the network's sources too.
            "network": _network(workload) if model.format == artifacts.WEIGHTS else None,
        }
    )


def _network(workload: Workload) -> list[Any]:
    """Returns the digests of the sources of the workload's network, and of what writes its program."""
    return [*artifacts.network_files(workload), sha256_file(Path(export_program.__file__))]


def _training(workload: Workload) -> list[str]:
    """Returns the digests of the files that training samples come from, and of the sources that draw and form them."""
    drawn_by = Path(inspect.getfile(workload.calibrate)).parent
    sources = (*sorted(drawn_by.glob("*.py")), Path(forms.__file__))
    return [workload.training_sha256, *map(sha256_file, sources)]


def _versions(maker: Maker) -> dict[str, str]:
    installed = packages()
    return {name: installed[name] for name in maker.PACKAGES if name in installed}
