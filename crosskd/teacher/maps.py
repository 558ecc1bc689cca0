"""Feature maps of a model that is no detector."""
from collections.abc import Iterator
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import ConfigValueError


class Maps(nn.Module):
    """A model that maps images to feature maps or tokens; returns maps.

    Images are resized (bilinear), so that both sides are multiples of the
    model's patch: to the nearest multiple, at least one patch.  They are not
    padded, because a border would be a part of the tokens along it, and of
    the attention of all others.

    Args:
        model: called with images (N, 3, H, W); returns a map (N, C, h, w),
            tokens (N, L, C), or a list, tuple or dict of them.  If it returns
            tokens, it has the attribute ``patch_size`` (pixels, one number or
            two for y and x), itself or in its ``patch_embed``; tokens before
            those of the patches (class token, registers) are dropped.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model: Any = model

    def forward(self, images: Tensor) -> list[Tensor]:
        """Feature maps (N, C, h, w) of images (N, 3, H, W)."""
        patch = patch_size(self.model)
        height, width = (max(round(side / p), 1) * p for side, p in zip(
            images.shape[2:], patch or (1, 1)))
        if images.shape[2:] != (height, width):
            images = F.interpolate(images, (height, width), mode='bilinear',
                                   align_corners=False)
        grid = patch and (height // patch[0], width // patch[1])
        return [x if x.dim() == 4 else self._as_map(x, grid)
                for x in _tensors(self.run(images))]

    def run(self, images: Tensor) -> Any:
        """The model's output for images of a size that suits it."""
        return self.model(images)

    def _as_map(self, tokens: Tensor, grid: tuple[int, int] | None) -> Tensor:
        name = type(self.model).__name__
        if grid is None:
            raise ConfigValueError(
                f'{name} returns tokens of shape {tuple(tokens.shape)}. To '
                "make maps of them, it needs an attribute 'patch_size', the "
                'pixels per token')
        count = grid[0] * grid[1]
        if tokens.size(1) < count:
            raise ConfigValueError(
                f'{name} returns {tokens.size(1)} tokens; expected at least '
                f"{count} ({grid[0]}×{grid[1]} patches of its 'patch_size')")
        return tokens[:, -count:].transpose(1, 2).unflatten(2, grid)


def patch_size(model: Any) -> tuple[int, int] | None:
    """The pixels of a model's patches in y and x; None if it has none."""
    for owner in (model, getattr(model, 'patch_embed', None)):
        size = getattr(owner, 'patch_size', None)
        if size is not None:
            high, wide = (size, size) if isinstance(size, int) else size
            return high, wide
    return None


def _tensors(value: Any) -> Iterator[Tensor]:
    """The maps and tokens in the output of a model."""
    if isinstance(value, Tensor):
        if value.dim() in (3, 4):
            yield value
    elif isinstance(value, dict):
        yield from _tensors(list(value.values()))
    elif isinstance(value, (list, tuple)):
        for one in value:
            yield from _tensors(one)
