"""A detector without its post-processing as an ONNX file."""
from pathlib import Path

import torch
from mmdet.models.detectors import SingleStageDetector
from torch import Tensor, nn

SIZE = (320, 320)  # of the images it is traced with; any may be given later
TOLERANCE = 1e-5


class Outputs(nn.Module):
    """A detector from normalised images to what its head returns, by name.

    Args:
        detector: in eval mode.
    """

    def __init__(self, detector: SingleStageDetector) -> None:
        super().__init__()
        self.detector = detector

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Maps of every level: the first output's, then the next's."""
        outputs = self.detector.bbox_head(self.detector.extract_feat(images))
        return tuple(x for levels in outputs for x in levels)


def write_onnx(detector: SingleStageDetector, file: Path,
               divisor: int = 32) -> float:
    """Write a detector as ONNX, and compare it with onnxruntime.

    Boxes are not decoded and not suppressed; the images are normalised ones.
    Batch, height and width may be any, sides multiples of ``divisor``.

    Args:
        detector: the plain student.
        file: gets the model.
        divisor: of the sides of images.

    Returns:
        float: the largest difference between torch and onnxruntime, relative
        to the largest value of a map; on a batch of another size than it was
        traced with.

    Raises:
        ValueError: a package is missing, torch is too old, or onnxruntime
            computes something else.
    """
    import numpy as np
    import onnxruntime
    model = Outputs(detector).eval()
    images = torch.randn(2, 3, *SIZE)
    batch = torch.export.Dim('batch', min=1)
    h, w = (divisor * torch.export.Dim(name, min=2) for name in ('h', 'w'))
    with torch.no_grad():
        names = _names(detector, model(images[:1]))
        torch.onnx.export(
            model, (images, ), str(file), dynamo=True, verbose=False,
            external_data=False,
            input_names=['images'], output_names=names,
            dynamic_shapes=({0: batch, 2: h, 3: w}, ))
        other = torch.randn(1, 3, SIZE[0] - divisor, SIZE[1] + divisor)
        expected = model(other)
    session = onnxruntime.InferenceSession(
        str(file), providers=['CPUExecutionProvider'])
    found = session.run(None, {'images': other.numpy()})
    worst = max(float(np.abs(a - b.numpy()).max() / b.abs().max().clamp(1))
                for a, b in zip(found, expected))
    if not worst <= TOLERANCE:
        raise ValueError(
            f'--onnx: onnxruntime differs from torch by {worst:.1e} of the '
            f'largest value, expected at most {TOLERANCE}')
    return worst


def _names(detector: SingleStageDetector,
           maps: tuple[Tensor, ...]) -> list[str]:
    from ..heads import adapter_of
    adapter = adapter_of(detector.bbox_head, teaches=True)
    return [f'{name}_{stride[0]}' for name in adapter.outputs
            for stride in adapter.strides]


def check_packages() -> None:
    """Check that what ONNX needs is installed.

    Raises:
        ValueError: a package is missing, or torch is too old.
    """
    from importlib.util import find_spec
    missing = [name for name in ('onnx', 'onnxscript', 'onnxruntime')
               if find_spec(name) is None]
    if missing:
        raise ValueError(f'--onnx needs {", ".join(missing)}: pip install '
                         f'{" ".join(missing)}')
    if tuple(map(int, torch.__version__.split('.')[:2])) < (2, 6):
        raise ValueError(f'--onnx needs torch 2.6 or newer, found '
                         f'{torch.__version__}')
