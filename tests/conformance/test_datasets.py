"""Every workload's dataset against the contract of a sample library."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from accuracy_scripts import objects
from reference_models.base import Dataset, Workload
from reference_models.forms import NEAREST, RAW, Form
from suite import plugins
from tests.accuracy_scripts.made_objects import payload_of
from tests.conformance.loading import WORKLOADS, data_folder

pytestmark = pytest.mark.side_by_side


@pytest.fixture(params=WORKLOADS)
def workload(request: pytest.FixtureRequest) -> Workload:
    return plugins.workload(request.param)


@pytest.fixture
def dataset(workload: Workload) -> Dataset:
    return workload.open_dataset(data_folder(workload))


def test_a_batch_holds_the_samples_in_the_order_asked_for(workload: Workload, dataset: Dataset) -> None:
    dataset.load([5, 2, 9])
    alone = {index: dataset.batch([index])[0] for index in (2, 5, 9)}
    batch = dataset.batch([9, 5, 9, 2])
    assert batch.shape == (4, *workload.input_shape)
    assert batch.dtype == np.float32
    assert batch.flags.c_contiguous
    assert all(np.array_equal(row, alone[index]) for row, index in zip(batch, (9, 5, 9, 2), strict=True))
    assert not np.array_equal(alone[2], alone[9])


def test_a_sample_is_the_same_however_it_was_loaded(dataset: Dataset) -> None:
    dataset.load([7])
    alone = dataset.batch([7])
    dataset.unload()
    dataset.load(np.arange(100)[::-1])
    assert np.array_equal(dataset.batch([7]), alone)


@pytest.mark.parametrize("loaded", [[7, 3], None], ids=["some", "all"])
def test_one_sample_is_not_copied_and_nobody_can_change_it(dataset: Dataset, loaded: list[int] | None) -> None:
    dataset.load(np.arange(dataset.total) if loaded is None else loaded)
    alone = dataset.batch([7])
    assert np.shares_memory(alone, dataset.batch([7]))
    assert alone.flags.c_contiguous and np.array_equal(alone, dataset.batch([3, 7])[1:])
    assert alone.strides == np.zeros_like(alone).strides, "torch would compile for it anew"
    with pytest.raises(ValueError):
        alone *= 2
    with pytest.raises(IndexError):
        dataset.batch([dataset.total])


def test_a_sample_that_is_not_resident_is_refused(dataset: Dataset) -> None:
    dataset.load([1, 2])
    for absent in (0, 3, dataset.total - 1, dataset.total, dataset.total + 7):
        with pytest.raises(IndexError):
            dataset.batch([1, absent])


def test_unloading_leaves_nothing_resident(dataset: Dataset) -> None:
    dataset.load(range(10))
    dataset.unload()
    with pytest.raises(IndexError):
        dataset.batch([3])


def test_loading_again_replaces_what_was_resident(dataset: Dataset) -> None:
    dataset.load([1])
    dataset.load([2])
    assert len(dataset.batch([2])) == 1
    with pytest.raises(IndexError):
        dataset.batch([1])


def test_every_sample_has_a_true_answer(workload: Workload, dataset: Dataset) -> None:
    truth = dataset.truth()
    assert len(truth) == dataset.total
    assert workload.judge.score(perfect(workload, truth), truth)[workload.metric] == pytest.approx(100)


def perfect(workload: Workload, truth: NDArray[Any]) -> NDArray[Any]:
    """Returns the answers of what is never wrong."""
    return payload_of(truth) if workload.judge is objects else truth


def test_it_says_what_it_is(workload: Workload, dataset: Dataset) -> None:
    again = workload.open_dataset(data_folder(workload))
    assert len(dataset.digest) == 64
    assert dataset.digest == again.digest
    assert dataset.preprocessing


def test_samples_in_their_stored_form_become_the_same_bits(dataset: Dataset) -> None:
    wanted = np.arange(0, dataset.total, 37)
    dataset.load(wanted)
    before = dataset.batch(wanted)
    dataset.load(wanted, decoded=False)
    after = dataset.batch(wanted)
    assert after.tobytes() == before.tobytes()
    assert (after.shape, after.dtype, after.flags.c_contiguous) == (before.shape, before.dtype, True)


@pytest.mark.parametrize(("decoded", "stages"), [(True, ["gather"]), (False, ["gather", "decode", "preprocess"])])
def test_a_batch_tells_its_stages_as_they_end(dataset: Dataset, decoded: bool, stages: list[str]) -> None:
    told: list[str] = []
    dataset.load([3, 1], decoded=decoded)
    assert np.array_equal(dataset.batch_marked([1, 3], told.append), dataset.batch([1, 3]))
    assert told == stages


def test_a_sample_that_is_not_resident_in_its_stored_form_is_refused(dataset: Dataset) -> None:
    dataset.load([1, 2], decoded=False)
    for absent in (0, 3, dataset.total - 1, dataset.total):
        with pytest.raises(IndexError):
            dataset.batch([1, absent])
    dataset.unload()
    with pytest.raises(IndexError):
        dataset.batch([1])


@pytest.mark.parametrize(
    "form",
    [
        Form(raw=True),
        Form(side=14),
        Form(raw=True, channels_last=True, side=7, resize=NEAREST),
        Form(stored=RAW),
        Form(raw=True, side=14, stored=RAW),
    ],
)
def test_samples_come_in_the_form_in_which_a_model_takes_them(workload: Workload, dataset: Dataset, form: Form) -> None:
    wanted = np.arange(0, dataset.total, 37)
    dataset.load(wanted)
    taken = dataset.taken(form)
    with pytest.raises(IndexError):
        taken.batch(wanted)
    for decoded in (True, False):
        taken.load(wanted, decoded=decoded)
        found = taken.batch(wanted)
        assert (found.shape[1:], found.dtype) == (form.shape(workload.input_shape), form.dtype)
        # Those of the reference are where they were.
        assert np.array_equal(found, form.of_samples(dataset.batch(wanted), workload.normalization))
    assert taken.preprocessing != dataset.preprocessing
    assert (taken.total, taken.digest) == (dataset.total, dataset.digest)
