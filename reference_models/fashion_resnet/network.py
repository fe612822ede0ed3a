"""A residual network of three stages for 28x28 grey images.

Source of the blocks: He, Zhang, Ren, Sun, "Deep Residual Learning for Image Recognition", CVPR 2016 (basic block).
"""

import torch
from torch import Tensor, nn

WIDTHS = (16, 32, 64)


class BasicBlock(nn.Module):
    """Two 3x3 convolutions beside a shortcut, which is a 1x1 convolution where the shape changes."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(inplace=True),
            nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False),
            nn.BatchNorm2d(outputs),
        )
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        """Returns (n, outputs, h / stride, w / stride) of (n, inputs, h, w)."""
        return torch.relu(self.body(x) + self.shortcut(x))


class FashionResNet(nn.Module):
    """(n, 1, 28, 28) to (n, 10) logits."""

    def __init__(self) -> None:
        super().__init__()
        first, second, third = WIDTHS
        self.stem = nn.Sequential(
            nn.Conv2d(1, first, 3, 1, 1, bias=False), nn.BatchNorm2d(first), nn.ReLU(inplace=True)
        )
        self.stages = nn.Sequential(
            BasicBlock(first, first, 1), BasicBlock(first, second, 2), BasicBlock(second, third, 2)
        )
        self.head = nn.Linear(third, 10)

    def forward(self, x: Tensor) -> Tensor:
        """Returns the logits."""
        return self.head(self.stages(self.stem(x)).mean(dim=(2, 3)))
