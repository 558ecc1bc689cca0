"""A replacement for ``mmcv._ext`` if mmcv has no compiled ops.

What: a module ``mmcv._ext`` with NMS (OpenCV), RoIAlign (torch; for two-stage
detectors and masks) and the focal loss (torch; mmdet calls it on a GPU).
Every other op raises an error that says what to install.  If mmcv has compiled
ops, this module is not used.
Why: mmdet imports ``mmcv.ops`` even for detectors that need only one of its
ops, NMS at test time, and compiling mmcv takes about twenty minutes.
Until: mmdet works without ``mmcv.ops``, or there are compiled mmcv packages
for the torch versions in use.
"""
import importlib
import importlib.machinery
import importlib.util
import logging
import sys
import types
from collections.abc import Callable
from typing import Any, NoReturn

import cv2
import torch
import torch.nn.functional as F
from mmengine.logging import MMLogger
from torch import Tensor

STAND_IN = 'crosskd.compat.mmcv_ext'


def install_if_missing() -> None:
    """Register the stand-in as ``mmcv._ext`` unless mmcv has compiled ops.

    Raises:
        ImportError: mmcv has compiled ops, but they cannot be loaded.
    """
    if 'mmcv._ext' in sys.modules:
        return
    if importlib.util.find_spec('mmcv._ext') is not None:
        _load()
        return
    from .roi_align import roi_align_backward, roi_align_forward
    module = types.ModuleType('mmcv._ext', f'Stand-in by {STAND_IN}.')
    # mmcv.utils.check_ops_exist looks the module up by its spec
    module.__spec__ = importlib.machinery.ModuleSpec(
        'mmcv._ext', loader=None, origin=STAND_IN)
    vars(module)['__getattr__'] = _not_provided
    for op in (nms, roi_align_forward, roi_align_backward,
               sigmoid_focal_loss_forward, sigmoid_focal_loss_backward,
               get_compiler_version, get_compiling_cuda_version):
        setattr(module, op.__name__, op)
    sys.modules['mmcv._ext'] = module


def _load() -> None:
    try:
        importlib.import_module('mmcv._ext')
    except ImportError as e:
        raise ImportError(
            f"mmcv's compiled ops (mmcv._ext) cannot be loaded: {e}. They "
            'were probably built for a torch other than the installed '
            f'{torch.__version__}. Install an mmcv that was built for this '
            'torch, or one without compiled ops (pip install '
            '--force-reinstall --no-deps onedl-mmcv, or mmcv-lite in place of '
            'mmcv): crosskd then provides the ops that detectors need'
        ) from e


def is_installed() -> bool:
    """Whether ``mmcv._ext`` is the stand-in of this package."""
    spec = getattr(sys.modules.get('mmcv._ext'), '__spec__', None)
    return getattr(spec, 'origin', None) == STAND_IN


_announced = False


def announce() -> None:
    """Note in the log file, once, that the stand-in is in use.

    Commands without a log file print no such line above their own output.
    """
    global _announced
    if _announced or not is_installed() or (
            logging.root.manager.disable >= logging.INFO):
        return
    logger = MMLogger.get_current_instance()
    if any(isinstance(h, logging.FileHandler) for h in logger.handlers):
        _announced = True
        logger.info(
            'mmcv has no compiled ops (mmcv._ext). crosskd replaces those '
            'that most detectors need: NMS (OpenCV), RoIAlign and focal loss '
            '(torch)')


def _not_provided(name: str) -> Callable[..., NoReturn]:
    if name.startswith('__'):
        raise AttributeError(name)

    def op(*args: Any, **kwargs: Any) -> NoReturn:
        raise NotImplementedError(
            f"mmcv op '{name}' needs mmcv's compiled ops, but this mmcv has "
            'none (mmcv._ext is missing). Install an mmcv that was built with '
            'MMCV_WITH_OPS=1.')

    return op


def nms(boxes: Tensor, scores: Tensor, iou_threshold: float,
        offset: int) -> Tensor:
    """Greedy NMS with the semantics of mmcv's compiled op.

    Args:
        boxes: (n, 4), xyxy in pixels.
        scores: (n, ).
        iou_threshold: boxes that overlap a kept box by more are dropped.
        offset: 0, or 1 where ``x2 - x1 + 1`` is the width of a box.

    Returns:
        Tensor: (k, ) indices of the kept boxes, by descending score.
    """
    announce()
    order = scores.sort(0, descending=True)[1]
    corners = boxes[order].detach().cpu().double()
    sides = corners[:, 2:] - corners[:, :2] + offset
    # A box without width or height overlaps nothing (its IoU is 0 or NaN, and
    # neither exceeds a threshold); OpenCV takes two of them for equal.
    solid = (sides > 0).all(1)
    keep = ~solid
    index = solid.nonzero().reshape(-1)
    if len(index):
        # Ranks instead of scores: OpenCV drops scores of 0 and orders ties
        # differently.
        ranks = torch.arange(len(index), 0, -1, dtype=torch.float32)
        xywh = torch.cat([corners[:, :2], sides], 1)[index]
        # cv2's types know of lists only; arrays are much faster
        kept = cv2.dnn.NMSBoxes(
            xywh.numpy(), ranks.numpy(),  # type: ignore[arg-type]
            0.0, iou_threshold)
        keep[index[torch.as_tensor(kept, dtype=torch.long).reshape(-1)]] = True
    return order[keep.to(order.device)]


def _focal_terms(logits: Tensor, target: Tensor,
                 weight: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """One-hot targets (background rows are zero) and log-probabilities."""
    if weight.numel():  # mmdet never passes class weights
        _not_provided('sigmoid_focal_loss with class weights')()
    one_hot = F.one_hot(target, logits.size(1) + 1)[:, :-1].to(logits.dtype)
    return one_hot, F.logsigmoid(logits), F.logsigmoid(-logits)


def sigmoid_focal_loss_forward(input: Tensor, target: Tensor, weight: Tensor,
                               output: Tensor, gamma: float,
                               alpha: float) -> None:
    """Sigmoid focal loss (Lin et al., arXiv 1708.02002, equation 5).

    Args:
        input: (n, C) logits.
        target: (n, ) class indices; C is background.
        weight: empty (class weights need the compiled op).
        output: (n, C), overwritten with the loss.
        gamma: focusing parameter.
        alpha: weight of the positives.
    """
    announce()
    t, log_p, log_q = _focal_terms(input, target, weight)
    p = input.sigmoid()
    loss = -(alpha * t * (1 - p)**gamma * log_p +
             (1 - alpha) * (1 - t) * p**gamma * log_q)
    output.copy_(loss)


def sigmoid_focal_loss_backward(input: Tensor, target: Tensor, weight: Tensor,
                                grad_input: Tensor, gamma: float,
                                alpha: float) -> None:
    """Gradient of :func:`sigmoid_focal_loss_forward` with respect to input.

    Args:
        input: (n, C) logits.
        target: (n, ) class indices; C is background.
        weight: empty (class weights need the compiled op).
        grad_input: (n, C), overwritten with the gradient.
        gamma: focusing parameter.
        alpha: weight of the positives.
    """
    t, log_p, log_q = _focal_terms(input, target, weight)
    p = input.sigmoid()
    positive = alpha * (1 - p)**gamma * (gamma * p * log_p - (1 - p))
    negative = (1 - alpha) * p**gamma * (p - gamma * (1 - p) * log_q)
    grad = t * positive + (1 - t) * negative
    grad_input.copy_(grad)


def get_compiler_version() -> str:
    """What mmcv's environment report prints for the compiler."""
    return 'none'


def get_compiling_cuda_version() -> str:
    """What mmcv's environment report prints for CUDA."""
    return 'none'
