"""What students need that are written as ONNX files."""
import pytest

from crosskd.apps.export.onnx import check_packages


def of_two_levels(part):
    """A part of a detector's config with its first two strides alone."""
    if not isinstance(part, dict):
        return part
    return {key: value[:2] if key in ('strides', 'regress_ranges') else
            of_two_levels(value) for key, value in part.items()}


def why_no_onnx():
    """What is missing for ONNX; None where nothing is."""
    try:
        check_packages()
    except ValueError as e:
        return str(e)


needs_onnx = pytest.mark.skipif(bool(why_no_onnx()),
                                reason=why_no_onnx() or '')
