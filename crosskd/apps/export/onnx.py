"""Exporting a detector without post-processing as an ONNX file."""
import contextlib
import io
import logging
import warnings
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from mmdet.models.detectors import BaseDetector
from torch import Tensor, nn

from ...compat.deformable_onnx import traceable
from ...errors import ConfigTypeError, ConfigValueError, words
from ...heads import HeadAdapter, dense_head
from ...taps.images import input_channels

OLDEST_TORCH = (2, 8)  # the first with torch.onnx.ops
OPSET = 20  # DeformConv is in onnx since 19
DIVISOR = 32  # of the sides of images, which backbones and necks need
SIZE = (320, 352)  # of the images for tracing
OTHER_SIZE = (384, 288)  # of the images for the comparison
TOLERANCE = 1e-5
ONE_SIZE = (
    '. Try --onnx-size H W: some detectors can only be exported for images of '
    'one size')
PACKAGES = ('onnx', 'onnxscript', 'onnxruntime')


class Outputs(nn.Module):
    """A detector from normalised images to the outputs of its head.

    Args:
        detector: in eval mode.
    """

    def __init__(self, detector: BaseDetector) -> None:
        super().__init__()
        self.detector = detector

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Maps of all levels: those of the first output, of the next, …"""
        outputs = self.detector.bbox_head(self.detector.extract_feat(images))
        return tuple(x for levels in outputs for x in levels)


def _known_head(detector: BaseDetector) -> HeadAdapter:
    try:
        return dense_head(detector, teaches=True)
    except ConfigTypeError:
        head = getattr(detector, 'bbox_head', None)
        found = type(detector).__name__ + (
            f' with {type(head).__name__}' if head is not None else '')
        raise ConfigTypeError(
            '--onnx: expected a detector with a dense head of a known family '
            f'(docs/mathematics.md), found {found}; see mmdeploy for others'
        ) from None


def write_onnx(detector: BaseDetector, file: Path,
               description: Mapping[str, str] | None = None,
               size: tuple[int, int] | None = None) -> float:
    """Write a detector as ONNX, and compare it with torch in onnxruntime.

    The model takes normalised images, and does not decode or suppress boxes.
    Any batch size, height and width work, if the sides are multiples of 32; a
    TOOD head takes one image at a time.  Outputs are named after the head's
    outputs and their strides: ``cls_8``, ``reg_16``.

    Args:
        detector: the plain student, in eval mode.
        file: gets the model.
        description: goes into the metadata of the file.
        size: fixed height and width of the images, one at a time; some
            backbones cannot be exported otherwise.

    Returns:
        float: the largest difference between torch and onnxruntime on a batch
        of another size than the traced one (or of other values, if the size
        is fixed), relative to the largest value of the map.

    Raises:
        TypeError: the detector's head belongs to no known family.
        ValueError: it cannot be exported, or onnxruntime computes something
            else.
    """
    if size and (min(size) < DIVISOR or any(s % DIVISOR for s in size)):
        raise ConfigValueError(
            f'--onnx-size: expected height and width as multiples of '
            f'{DIVISOR}, found {size[0]} {size[1]}')
    head = _known_head(detector)
    names = [f'{name}_{stride[0]}' for name in head.outputs
             for stride in head.strides]
    model = Outputs(detector)
    batch = {0: torch.export.Dim('batch', min=1)}
    counts, sizes = (2, 3), (SIZE, OTHER_SIZE)
    if head.loops_over_images or size:
        batch, counts = {}, (1, 1)
    height, width = (DIVISOR * torch.export.Dim(f'{side}_by_{DIVISOR}', min=2)
                     for side in ('height', 'width'))
    shapes: tuple | None = ({**batch, 2: height, 3: width}, )
    if size:
        sizes, shapes = (size, size), None
    channels = input_channels(detector)
    # values of images; the same each time
    random = torch.Generator().manual_seed(0)
    images, others = (torch.randn(n, channels, *sides, generator=random)
                      for n, sides in zip(counts, sizes))
    way_out = '' if size else ONE_SIZE
    with torch.no_grad():
        expected = model(others)
        try:
            with _quiet(), traceable(detector):
                program: Any = torch.onnx.export(
                    model, (images, ), dynamo=True, verbose=False,
                    opset_version=OPSET, input_names=['images'],
                    output_names=names,
                    dynamic_shapes=shapes)
                program.model.metadata_props.update(description or {})
                program.save(str(file), external_data=False)
        except torch.onnx.OnnxExporterError as e:
            raise ConfigValueError(
                '--onnx: torch cannot export this detector: '
                f'{words(e.__cause__ or e)}{way_out}') from e
    try:
        difference = _difference(file, others, expected)
    except ValueError as e:
        raise ConfigValueError(f'{e}{way_out}') from e
    if not difference <= TOLERANCE:
        raise ConfigValueError(
            f"--onnx: onnxruntime's outputs differ from torch's by "
            f'{difference:.1e} of the largest value, expected at most '
            f'{TOLERANCE}{way_out}')
    return difference


def check_packages() -> None:
    """Check that the packages that ONNX needs are installed.

    Raises:
        ValueError: torch is too old, or a package is missing.
    """
    need = '.'.join(map(str, OLDEST_TORCH))
    if tuple(map(int, torch.__version__.split('.')[:2])) < OLDEST_TORCH:
        raise ConfigValueError(
            f'--onnx: needs torch {need} or newer, found '
            f'{torch.__version__}; without --onnx, config and '
            'checkpoint are exported')
    missing = [name for name in PACKAGES if find_spec(name) is None]
    if missing:
        raise ConfigValueError(
            '--onnx: packages are missing; get them with: '
            f'pip install {" ".join(missing)}')


def _difference(file: Path, images: Tensor,
                expected: tuple[Tensor, ...]) -> float:
    import onnxruntime
    try:
        session = onnxruntime.InferenceSession(
            str(file), providers=['CPUExecutionProvider'])
        found = session.run(None, {'images': images.numpy()})
    except Exception as e:  # its errors have no base class of their own
        raise ConfigValueError(
            f'--onnx: onnxruntime {onnxruntime.__version__} cannot run what '
            f'torch exported: {words(e).splitlines()[0]}') from e
    return max(
        float((torch.from_numpy(x) - y).abs().max() / y.abs().max())
        for x, y in zip(found, expected))


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Suppress torch's own messages during the export."""
    log = logging.getLogger('torch.onnx')
    before = log.level
    log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(
                io.StringIO()):
            warnings.simplefilter('ignore')
            yield
    finally:
        log.setLevel(before)
