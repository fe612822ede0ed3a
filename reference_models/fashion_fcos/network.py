"""A one-stage detector without anchors for 64x64 grey images of clothing.

Sources: Tian, Shen, Chen, He, "FCOS: Fully Convolutional One-Stage Object Detection", ICCV 2019 (each location of a
grid tells the class and the distances to the four sides of the box around it); Lin et al., "Feature Pyramid Networks
for Object Detection", CVPR 2017 (the deep features, made larger, are added to those below).
"""

from torch import Tensor, nn

WIDTHS = (16, 32, 64)
CLASSES = 10
# What a location tells beside its classes: how far left, top, right and bottom of a box are, as logarithms.
SIDES = 4


class FashionFCOS(nn.Module):
    """(n, 1, 64, 64) to (n, 14, 16, 16): at each location ten logits and four logarithms of distances, in strides."""

    def __init__(self) -> None:
        super().__init__()
        first, second, third = WIDTHS
        self.stem = _convolved(1, first, 3, 2)
        self.fine = nn.Sequential(_convolved(first, second, 3, 2), _convolved(second, second, 3, 1))
        self.coarse = nn.Sequential(
            _convolved(second, third, 3, 2), _convolved(third, third, 3, 1), _convolved(third, third, 3, 1)
        )
        self.lateral = _convolved(second, second, 1, 1)
        self.reduced = _convolved(third, second, 1, 1)
        self.larger = nn.Upsample(scale_factor=2, mode="nearest")
        self.shared = nn.Sequential(_convolved(second, second, 3, 1), _convolved(second, second, 3, 1))
        self.head = nn.Conv2d(second, CLASSES + SIDES, 3, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Returns the logits and the logarithms."""
        fine = self.fine(self.stem(x))
        coarse = self.larger(self.reduced(self.coarse(fine)))
        return self.head(self.shared(self.lateral(fine) + coarse))


def _convolved(inputs: int, outputs: int, side: int, stride: int) -> nn.Sequential:
    """Returns a convolution with what follows it."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, side, stride, side // 2, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    )
