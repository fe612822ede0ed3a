"""The workload fashion-fcos: what pieces of clothing are where in a scene; its network is in network.py."""

from pathlib import Path
from typing import TYPE_CHECKING

from accuracy_scripts import objects
from reference_models.base import Workload
from reference_models.datasets import fashion_scenes
from reference_models.fashion_fcos import detections

if TYPE_CHECKING:
    import torch


def build() -> "torch.nn.Module":
    """Returns the untrained network, in evaluation mode."""
    from reference_models.fashion_fcos.network import FashionFCOS

    return FashionFCOS().eval()


WORKLOAD = Workload(
    name="fashion-fcos",
    dataset_name=fashion_scenes.NAME,
    open_dataset=fashion_scenes.FashionScenes,
    calibrate=fashion_scenes.calibrate,
    training_sha256=fashion_scenes.TRAINING_SHA256,
    build=build,
    weights=Path(__file__).with_name("weights.safetensors"),
    input_shape=fashion_scenes.SHAPE,
    normalization=fashion_scenes.NORMALIZATION,
    output_shape=detections.OUTPUT_SHAPE,
    payload_dtype="int32",
    encode=detections.detections,
    confidence=detections.confidence,
    metric="mAP",
    judge=objects,
    # MLPerf's closed division: 99 % of what the fp32 reference reaches.
    target_factor=0.99,
    steps=detections.REFERENCE,
    encode_by=detections.with_steps,
)
