"""Inverted residuals with depthwise convolutions and ReLU6 for 28x28 grey images.

Source of the blocks: Sandler, Howard, Zhu, Zhmoginov, Chen, "MobileNetV2: Inverted Residuals and Linear
Bottlenecks", CVPR 2018.
"""

from torch import Tensor, nn

# (expansion, output channels, stride) of each block; little expansion where the image is large, as it costs most there.
BLOCKS = ((2, 24, 2), (4, 24, 1), (4, 40, 2), (4, 40, 1), (4, 56, 1))
STEM, LAST = 16, 224


def convolution(inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> nn.Sequential:
    """Returns convolution, batch normalisation and ReLU6."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU6(inplace=True),
    )


class InvertedResidual(nn.Module):
    """Expands, filters each channel by itself, projects linearly; beside a shortcut where the shape allows."""

    def __init__(self, inputs: int, outputs: int, expansion: int, stride: int) -> None:
        super().__init__()
        hidden = inputs * expansion
        self.body = nn.Sequential(
            convolution(inputs, hidden, 1),
            convolution(hidden, hidden, 3, stride, groups=hidden),
            nn.Conv2d(hidden, outputs, 1, bias=False),
            nn.BatchNorm2d(outputs),
        )
        self.residual = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        """Returns (n, outputs, h / stride, w / stride) of (n, inputs, h, w)."""
        return x + self.body(x) if self.residual else self.body(x)


class FashionMobileNet(nn.Module):
    """(n, 1, 28, 28) to (n, 10) logits."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = convolution(1, STEM, 3)
        self.blocks = nn.Sequential()
        width = STEM
        for expansion, outputs, stride in BLOCKS:
            self.blocks.append(InvertedResidual(width, outputs, expansion, stride))
            width = outputs
        self.last = convolution(width, LAST, 1)
        self.head = nn.Linear(LAST, 10)

    def forward(self, x: Tensor) -> Tensor:
        """Returns the logits."""
        return self.head(self.last(self.blocks(self.stem(x))).mean(dim=(2, 3)))
