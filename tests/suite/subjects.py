"""Subjects for tests of what is measured before a run."""

from pathlib import Path

from suite import plugins
from suite.subject import Subject, describe
from tests.conformance.loading import variant


def subject(backend: str, data_root: Path, **options: str) -> Subject:
    """Returns a workload's reference on a backend, with all of its data."""
    workload = plugins.workload("fashion-resnet")
    chosen = variant(backend, workload, **options)
    opened = Subject.open(
        describe(workload.name, backend, chosen.model, dict(chosen.options), data_root / workload.dataset_name)
    )
    opened.dataset.load(range(opened.dataset.total))
    return opened
