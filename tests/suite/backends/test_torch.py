"""torch runs the reference itself, eager or compiled, with each session's own number of threads."""

import shutil
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from common.errors import UsageError
from reference_models.base import Model, Workload
from suite import plugins
from suite.backends import torch as backend
from tests.conformance.loading import images, model, session, variant

pytestmark = pytest.mark.side_by_side

WORKLOAD = plugins.workload("fashion-resnet")


def load(
    chosen: Model, threads: int = 1, compiled: str = "no", device: str = "cpu", graphs: str = "yes", fold: str = "no"
) -> backend.TorchSession:
    options = {"compile": compiled, "graphs": graphs, "fold": fold}
    return backend.load(chosen, WORKLOAD, device=device, threads=threads, options=options)


def reference() -> Model:
    return model(WORKLOAD, plugins.backend("torch"))


def test_each_thread_uses_its_sessions_number_of_threads() -> None:
    """Both threads are new, run at once, and belong to sessions that were made in a third."""
    import torch

    used: dict[int, list[int]] = {1: [], 2: []}
    together = threading.Barrier(2)

    def work(threads: int, opened: backend.TorchSession) -> None:
        for _ in range(5):
            together.wait()
            opened.predict(images(WORKLOAD.name, 64))
            used[threads].append(torch.get_num_threads())

    workers = [threading.Thread(target=work, args=(count, load(reference(), count))) for count in (1, 2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert used == {1: [1] * 5, 2: [2] * 5}


@pytest.mark.parametrize("workload", [WORKLOAD, plugins.workload("fashion-mobilenet")], ids=lambda one: one.name)
def test_folded_batch_normalization_is_within_the_convolutions(workload: Workload) -> None:
    chosen = variant("torch", workload, "fuse:batchnorm=folded")
    network = backend._network(chosen.model, workload, folded=True)
    kinds = {type(one).__name__ for one in network.modules()}
    assert "Conv2d" in kinds and "BatchNorm2d" not in kinds
    samples = images(workload.name, 64)
    with session("torch", workload) as kept, session("torch", workload, "fuse:batchnorm=folded") as folded:
        found, expected = folded.predict(samples), kept.predict(samples)
    assert 0 < np.abs(found - expected).max() < 1e-4
    ran = backend.arithmetic(chosen.model, workload, device="cpu", threads=1, options=chosen.options)
    assert ran and ran == backend.arithmetic(
        chosen.model, workload, device="cpu", threads=1, options={**chosen.options, "fold": "no"}
    )


def test_where_there_is_nothing_to_fold_that_is_said() -> None:
    import torch

    with pytest.raises(UsageError, match="no batch normalization behind a convolution"):
        backend._folded(torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3), torch.nn.ReLU()).eval())


def test_what_is_quantized_is_folded_already() -> None:
    with pytest.raises(UsageError, match="folded where it can be. Leave out fuse:batchnorm"):
        with session("torch", WORKLOAD, "quantize:int8,range=reduced,samples=64+fuse:batchnorm=folded"):
            pass


def test_outputs_carry_no_gradient_and_are_plain_arrays() -> None:
    outputs = load(reference()).predict(images(WORKLOAD.name, 64)[:2])
    assert type(outputs) is np.ndarray
    outputs[0] = 0


@pytest.mark.long
@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_compiled_answers_are_the_eager_ones_in_every_batch_without_compiling_again(device: str) -> None:
    from torch._dynamo import config as dynamo
    from torch._dynamo.utils import counters

    if device not in backend.devices() or not any(map(shutil.which, backend.COMPILERS[device])):
        pytest.skip(f"there is no {device}, or no compiler for it")
    samples, limits = images(WORKLOAD.name, 512), []
    found: dict[int, Any] = {}

    def work() -> None:
        assert dynamo.recompile_limit != backend.RECOMPILE_LIMIT
        found.update({size: compiled.predict(samples[:size]) for size in (5, 1, 2, 15, 16, 100, 33, 257, 512, 3)})
        limits.append(dynamo.recompile_limit)

    with (
        session("torch", WORKLOAD, device=device) as eager,
        session("torch", WORKLOAD, "fuse:compile", device=device) as compiled,
    ):
        programs = counters["stats"]["unique_graphs"]
        worker = threading.Thread(target=work)
        worker.start()
        worker.join()
        assert programs > 0
        assert counters["stats"]["unique_graphs"] == programs
        # A new thread has torch's own settings until it meets a compiled session.
        assert limits == [backend.RECOMPILE_LIMIT]
        for size, outputs in found.items():
            assert np.abs(outputs - eager.predict(samples[:size])).max() < 1e-4
        with session("torch", WORKLOAD, "fuse:compile", device=device) as another:
            assert np.array_equal(another.predict(samples[:5]), found[5])
        assert counters["stats"]["unique_graphs"] == programs


@pytest.mark.parametrize(("device", "compiler"), [("cpu", r"g\+\+"), ("cuda", "gcc")])
def test_compiling_needs_a_compiler(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, device: str, compiler: str
) -> None:
    # It is missed before anything is done on the device.
    monkeypatch.setattr(backend, "devices", lambda: (device,))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(
        UsageError, match=rf"torch\.compile needs one of {compiler}, .*Install {compiler}, or leave out fuse:compile"
    ):
        load(reference(), compiled="yes", device=device)


def test_what_is_not_compiled_needs_no_compiler(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert len(load(reference()).predict(images(WORKLOAD.name, 64)[:1])) == 1


@pytest.mark.parametrize("content", [b"", b"not weights", None])
def test_a_file_that_holds_no_weights_is_refused(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "weights.safetensors"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UsageError, match="cannot load the model .*weights.safetensors into fashion-resnet"):
        load(replace(reference(), path=path, sha256=f"{content!r}"))


def test_another_networks_weights_are_refused() -> None:
    other = plugins.workload("fashion-mobilenet").weights
    with pytest.raises(UsageError, match=r"(?s)cannot load the model .*Missing key"):
        load(replace(reference(), path=other, sha256="another"))


def test_an_exception_of_the_runtime_is_not_hidden() -> None:
    with pytest.raises(RuntimeError, match="expected input"):
        load(reference()).predict(np.zeros((1, 3, 5, 5), np.float32))


def test_a_gpu_that_torch_cannot_compute_on_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """torch counts GPUs, and does not ask whether it has programs for them."""
    import torch

    def fails(*arguments: object, **named: object) -> None:
        raise RuntimeError("no kernel image is available for execution on the device")

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch, "ones", fails)
    assert backend.devices() == ("cpu",)


def test_float32_on_a_gpu_is_not_rounded_to_tf32() -> None:
    import torch

    if "cuda" not in backend.devices() or not torch.cuda.is_tf32_supported():
        pytest.skip("torch finds no GPU here that has TF32")
    samples = images(WORKLOAD.name, 64)
    expected = load(reference()).predict(samples)
    graphs, eager = (load(reference(), device="cuda", graphs=graphs) for graphs in ("yes", "no"))
    assert np.abs(graphs.predict(samples) - expected).max() < 1e-4
    assert np.abs(eager.predict(samples) - expected).max() < 1e-4
    torch.backends.cudnn.allow_tf32 = True
    try:
        # Else the lines above would say nothing. What is in a graph stays as it was captured.
        assert np.abs(eager.predict(samples) - expected).max() > 1e-4
        assert np.abs(graphs.predict(samples) - expected).max() < 1e-4
    finally:
        torch.backends.cudnn.allow_tf32 = False
