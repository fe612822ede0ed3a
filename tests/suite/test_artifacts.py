"""The reference's weights and its cached export are used only while they are what their cards say."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from common.errors import UsageError
from common.files import sha256_file
from reference_models.base import Workload
from suite import artifacts, plugins, shelf

pytestmark = pytest.mark.side_by_side

WORKLOAD = plugins.workload("fashion-resnet")


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory, data_root: Path) -> Path:
    """Returns a cache that holds the export."""
    cache = tmp_path_factory.mktemp("cache")
    artifacts.prepare(WORKLOAD, ("onnx",), data_root / "fashion-mnist", cache)
    return cache


@pytest.fixture
def cache(exported: Path, tmp_path: Path) -> Path:
    """Returns a copy of it, to be damaged."""
    return Path(shutil.copytree(exported, tmp_path / "cache"))


def folder_of(cache: Path) -> Path:
    (folder,) = (cache / "artifacts").iterdir()
    return folder


def copied(folder: Path) -> Workload:
    """Returns the workload with its weights and their card in another folder."""
    for name in ("weights.safetensors", "reference.json"):
        shutil.copy(WORKLOAD.weights.with_name(name), folder)
    return replace(WORKLOAD, weights=folder / "weights.safetensors")


def test_the_first_format_that_can_be_had_is_chosen(exported: Path, data_root: Path) -> None:
    data = data_root / "fashion-mnist"
    assert artifacts.prepare(WORKLOAD, ("safetensors", "onnx"), data, exported).format == "safetensors"
    assert artifacts.prepare(WORKLOAD, ("openvino", "onnx"), data, exported).format == "onnx"
    with pytest.raises(UsageError, match="can be had as safetensors or onnx, not as openvino"):
        artifacts.prepare(WORKLOAD, ("openvino",), data, exported)


def test_the_artifact_says_where_it_comes_from(exported: Path) -> None:
    model = artifacts.prepared(WORKLOAD, ("onnx",), exported)
    card = json.loads((folder_of(exported) / "artifact.json").read_text())
    assert model.sha256 == card["sha256"] == sha256_file(model.path)
    assert sha256_file(WORKLOAD.weights) in model.chain[0]
    assert card["compared_samples"] >= 256
    assert 0 < card["max_abs_difference"] < 1e-3
    assert {"torch", "onnx", "onnxscript"} == set(card["versions"])


def test_what_was_not_exported_is_not_there(tmp_path: Path) -> None:
    assert artifacts.cached(WORKLOAD, ("onnx",), tmp_path) is None
    with pytest.raises(UsageError, match="has not been exported"):
        artifacts.prepared(WORKLOAD, ("onnx",), tmp_path)


def test_a_cached_artifact_is_read_without_torch_and_onnx(exported: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from suite import artifacts, plugins\n"
        f"model = artifacts.cached(plugins.workload('fashion-resnet'), ('onnx',), Path({str(exported)!r}))\n"
        "print(model.format, sorted({'torch', 'onnx', 'onnxruntime'} & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "onnx []\n"


def flip_a_byte(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def edit(path: Path, **changes: object) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


@pytest.mark.parametrize(
    ("damage", "file", "what"),
    [
        (lambda folder: flip_a_byte(folder / "model.onnx"), "model.onnx", "expected SHA-256 .*, found "),
        (lambda folder: (folder / "model.onnx").unlink(), "model.onnx", "cannot be read"),
        (lambda folder: (folder / "model.onnx").write_bytes(b""), "model.onnx", "expected SHA-256 .*, found e3b0c442"),
        (lambda folder: (folder / "artifact.json").unlink(), "artifact.json", "no artifact's card"),
        (lambda folder: (folder / "artifact.json").write_text("{"), "artifact.json", "no artifact's card"),
        (lambda folder: (folder / "artifact.json").write_bytes(b"\xff"), "artifact.json", "no artifact's card"),
        (lambda folder: (folder / "artifact.json").write_text("[]"), "artifact.json", "no artifact's card"),
        (lambda folder: (folder / "artifact.json").write_text("{}"), "artifact.json", "no artifact's card"),
        (lambda folder: edit(folder / "artifact.json", schema=2), "artifact.json", "expected schema 1, found 2"),
        (lambda folder: edit(folder / "artifact.json", key="0" * 64), "artifact.json", "card of artifact 0000"),
        (lambda folder: edit(folder / "artifact.json", sha256=5), "artifact.json", "expected texts"),
        (lambda folder: edit(folder / "artifact.json", chain=[1]), "artifact.json", "expected texts in chain"),
        (lambda folder: edit(folder / "artifact.json", chain=None), "artifact.json", "no artifact's card"),
    ],
)
def test_a_damaged_artifact_is_refused_with_the_way_out(
    cache: Path, damage: Callable[[Path], object], file: str, what: str
) -> None:
    folder = folder_of(cache)
    damage(folder)
    with pytest.raises(
        UsageError, match=f"{folder / file} is corrupt or foreign: .*{what}.*Delete the folder {folder}"
    ):
        artifacts.cached(WORKLOAD, ("onnx",), cache)


def test_another_artifacts_files_are_refused(cache: Path) -> None:
    """A whole and consistent artifact, under a key that is not its own."""
    folder = folder_of(cache)
    foreign = folder.rename(folder.with_name("f" * 64))
    with pytest.raises(UsageError, match="card of artifact .*, not of ffff"):
        shelf.read(foreign)


def test_deleting_a_damaged_artifact_helps(cache: Path, data_root: Path) -> None:
    before = artifacts.prepared(WORKLOAD, ("onnx",), cache)
    shutil.rmtree(folder_of(cache))
    assert artifacts.prepare(WORKLOAD, ("onnx",), data_root / "fashion-mnist", cache) == before


def test_other_weights_are_another_artifact(cache: Path, tmp_path: Path) -> None:
    import torch
    from safetensors.torch import load_file, save_file

    other = copied(tmp_path)
    weights = load_file(other.weights)
    save_file(
        {name: value + (name == "head.bias") * torch.tensor(1.0) for name, value in weights.items()}, other.weights
    )
    edit(tmp_path / "reference.json", weights_sha256=sha256_file(other.weights))
    assert artifacts.cached(other, ("onnx",), cache) is None


def test_weights_that_do_not_match_their_card_are_refused(tmp_path: Path) -> None:
    altered = copied(tmp_path)
    assert artifacts.reference_model(altered).sha256 == sha256_file(WORKLOAD.weights)
    flip_a_byte(altered.weights)
    with pytest.raises(
        UsageError, match="fashion-resnet: .*weights.safetensors does not match its card: .* says SHA-256"
    ):
        artifacts.reference_model(altered)
    with pytest.raises(UsageError, match="does not match its card"):
        artifacts.cached(altered, ("onnx",), tmp_path)


@pytest.mark.parametrize("missing", ["weights.safetensors", "reference.json"])
def test_a_reference_without_its_files_is_refused(tmp_path: Path, missing: str) -> None:
    workload = copied(tmp_path)
    (tmp_path / missing).unlink()
    with pytest.raises(UsageError, match=f"fashion-resnet: .*{missing} .*Restore it from the repository"):
        artifacts.reference_model(workload)


def test_an_artifact_is_of_its_network_its_exporter_its_opset_and_their_versions(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    source = artifacts._source(WORKLOAD)
    other = Path(shutil.__file__)
    changed = [
        replace(source, network=(*source.network, ("more.py", "0" * 64))),
        replace(source, versions={**source.versions, "torch": "9"}),
        replace(source, reference=replace(source.reference, sha256="0" * 64)),
    ]
    keys = {source.key, *(one.key for one in changed)}
    monkeypatch.setattr(artifacts, "OPSET", 18)
    keys.add(source.key)
    monkeypatch.setattr(artifacts.export, "__file__", str(other))
    keys.add(source.key)
    assert len(keys) == 6


def test_files_that_are_no_part_of_an_artifact_are_refused(cache: Path) -> None:
    """ONNX may keep weights in files of their own, of which the model's digest says nothing."""
    (folder_of(cache) / "weights.bin").write_bytes(b"1")
    with pytest.raises(UsageError, match=r"weights\.bin is corrupt or foreign: it is no part of an artifact"):
        artifacts.cached(WORKLOAD, ("onnx",), cache)
