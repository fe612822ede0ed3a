"""The workload fashion-mobilenet: its network is in network.py, its weights and their card lie beside this file."""

from pathlib import Path
from typing import TYPE_CHECKING

from reference_models._fashion import workload

if TYPE_CHECKING:
    import torch


def build() -> "torch.nn.Module":
    """Returns the untrained network, in evaluation mode."""
    from reference_models.fashion_mobilenet.network import FashionMobileNet

    return FashionMobileNet().eval()


WORKLOAD = workload("fashion-mobilenet", Path(__file__).parent, build)
