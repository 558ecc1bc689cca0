"""Showing images that do not have three channels of 8 bits."""
import numpy as np


def as_picture(pixels: np.ndarray) -> np.ndarray:
    """Convert an image with any channels and type so that it can be shown.

    Of more than three channels, the first three are shown; of one or two, the
    first, in grey.  Values that are not 8 bits are scaled so that the smallest
    becomes 0 and the largest 255.

    Args:
        pixels: (h, w) or (h, w, channels), of any type of numbers.

    Returns:
        np.ndarray: (h, w, 3), uint8; the order of channels is unchanged.
    """
    if pixels.ndim == 2:
        pixels = pixels[..., None]
    pixels = pixels[..., :3 if pixels.shape[2] >= 3 else 1]
    if pixels.dtype != np.uint8:
        values = pixels.astype(np.float64)
        known = values[np.isfinite(values)]
        low, high = (known.min(), known.max()) if known.size else (0, 0)
        values = np.nan_to_num(values, nan=low, posinf=high, neginf=low)
        pixels = np.rint(255 * (values - low) / ((high - low) or 1)).astype(
            np.uint8)
    return np.ascontiguousarray(
        np.broadcast_to(pixels, (*pixels.shape[:2], 3)))
