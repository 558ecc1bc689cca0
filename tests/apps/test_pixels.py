"""Pictures of images of any number of channels and any type."""
import numpy as np
import pytest

from crosskd.apps.visualization.pixels import as_picture

GREY = np.arange(6).reshape(2, 3)


def test_a_picture_of_three_channels_of_8_bits_is_itself():
    pixels = np.random.default_rng(0).integers(
        0, 256, (4, 5, 3)).astype(np.uint8)
    assert (as_picture(pixels) == pixels).all()


@pytest.mark.parametrize('values', [
    GREY, GREY.astype(np.uint16) * 8000, GREY.astype(np.int32) - 3,
    GREY / 5, GREY / 1e9 + 1e-3, GREY.astype(np.float16),
    GREY.astype(np.float32) * 1e30], ids=lambda v: f'{v.dtype} {v.max():g}')
@pytest.mark.parametrize('channels', [None, 1, 2, 3, 4, 5])
def test_values_are_scaled_by_their_own_range(values, channels):
    """The first three channels are shown, or the first in grey."""
    pixels = values
    if channels is not None:
        pixels = np.stack([values] * channels, -1)
        if channels != 3:  # the last one is not shown
            pixels[..., 3 if channels > 3 else 1:] = 0 if channels > 1 else 1
    picture = as_picture(pixels)
    assert picture.shape == (2, 3, 3) and picture.dtype == np.uint8
    assert (picture == np.arange(0, 256, 51).reshape(2, 3, 1)).all()


def test_what_is_not_finite_and_what_is_all_alike():
    pixels = np.array([[0, 1, np.nan, np.inf, -np.inf]])
    assert as_picture(pixels)[0, :, 0].tolist() == [0, 255, 0, 255, 0]
    assert (as_picture(np.full((2, 2), 7.0)) == 0).all()
    assert (as_picture(np.full((2, 2), np.nan)) == 0).all()


@pytest.mark.parametrize('channels, shown', [
    (1, [0, 0, 0]), (2, [0, 0, 0]), (4, [0, 1, 2])])
def test_8_bits_stay_as_they_are(channels, shown):
    pixels = np.full((2, 2, channels), [10, 20, 30, 40][:channels], np.uint8)
    assert as_picture(pixels)[0, 0].tolist() == [10 * (i + 1) for i in shown]
