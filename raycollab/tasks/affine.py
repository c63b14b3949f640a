"""An augmentation for things that stay what they are when they are turned a little, moved, scaled or slanted."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from raycollab.settings import require
from raycollab.tasks.augmentation import Augmentation, as_given, middles


@dataclass(frozen=True)
class RandomAffine(Augmentation):
    """Slants, scales, turns and moves each image about its middle, by amounts drawn for each.

    Values are read off between pixels; beyond an image's edge there is its edge. For handwriting, whose views a crop
    makes another sign of: a piece of an 8 is a 3.

    Args:
        degrees: The most that an image is turned, either way.
        translate: The most that it is moved across and down, as a share of its width and height.
        scale: Smallest and largest factor on its sides.
        shear: The most that a row is pushed along, per row of distance from the middle one.
    Source: torchvision's transforms.RandomAffine, with shear as a tangent, and scale even in its logarithm.
    """

    degrees: float = 15.0
    translate: float = 0.1
    scale: tuple[float, float] = (0.8, 1.2)
    shear: float = 0.2

    def __post_init__(self) -> None:
        object.__setattr__(self, "scale", tuple(self.scale))
        require(0 <= self.degrees <= 180, "RandomAffine.degrees", self.degrees, "must be in [0, 180]")
        accepted = "must be in [0, 1), a share of the sides"
        require(0 <= self.translate < 1, "RandomAffine.translate", self.translate, accepted)
        good = len(self.scale) == 2 and 0 < self.scale[0] <= self.scale[1] < math.inf
        require(good, "RandomAffine.scale", self.scale, "must be two factors > 0, the smaller first")
        require(0 <= self.shear < math.inf, "RandomAffine.shear", self.shear, "must be >= 0")

    def apply(self, images: Tensor) -> Tensor:
        """Read each place of the new image off where it comes from in the old one."""
        count, (height, width) = len(images), images.shape[-2:]
        turned, across, down, slanted = 2 * torch.rand(4, count, 1, 1, device=images.device) - 1
        larger = self.scale[0] * (self.scale[1] / self.scale[0]) ** torch.rand(count, 1, 1, device=images.device)
        angle = math.radians(self.degrees) * turned
        x = middles(width, images.device) * width / 2 - self.translate * width * across  # [b, 1, w], pixels
        y = middles(height, images.device)[:, None] * height / 2 - self.translate * height * down  # [b, h, 1]
        rows = (angle.cos() * y - angle.sin() * x) / larger
        columns = (angle.cos() * x + angle.sin() * y) / larger - self.shear * slanted * rows
        grid = torch.stack([columns * 2 / width, rows * 2 / height], 3)
        moved = functional.grid_sample(images.float(), grid, padding_mode="border", align_corners=False)
        return as_given(moved, images)
