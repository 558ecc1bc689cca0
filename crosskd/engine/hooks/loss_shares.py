"""Logging the share of distillation in the loss."""
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from functools import partial
from typing import Any

import numpy as np
import torch
from mmdet.registry import HOOKS
from mmengine.dist import all_reduce
from mmengine.hooks import Hook, LoggerHook
from mmengine.runner import IterBasedTrainLoop, Runner
from torch import Tensor

from ...arguments import check_number, naming
from ...detectors import DistillationMixin
from ...detectors.unwrapping import unwrapped
from ...errors import ConfigTypeError, ConfigValueError
from ...taps import HEAD_INPUT, tapped
from .gradient_share import GradientShare

# Where distillation helped, its share of the loss was up to 0.93 at the start
# and up to 0.90 at the end, most often falling from two thirds to below one
# half.  Undivided losses of nine anchors, at 0.91 to 0.84, did harm
# (docs/results.md).  So a share in between says little; beyond these limits
# one side has almost no gradient.
TOO_MUCH = 0.95  # of the loss is distillation
TOO_LITTLE = 0.001  # of the loss is one distillation loss
# Warn after this many iterations, or after a quarter of a shorter run.
# mmdet's schedules begin with up to a thousand small steps, and RTMDet's
# distillation losses are hundreds of times its detection losses until its
# boxes are good.
LONG, QUARTER = 2000, 4
SHORTEST = 100  # fewer iterations prove nothing
MOSTLY = 0.9  # of these iterations
# what the weights of distillation losses are multiplied with, in checkpoints
SCALE = 'distillation_scale'


@HOOKS.register_module()
class LossSharesHook(Hook):
    """Log the share of each distillation loss, and warn of extreme shares.

    For ``loss_cls_kd`` this is ``share_cls_kd``, its part of the whole
    ``loss`` between 0 and 1, over the same iterations as the losses in the
    same line.  Shares are computed from logged numbers when the ``LoggerHook``
    prints, so they do not slow down training steps.  The
    ``DistillationRunner`` adds this hook; configure it for other Runners, or
    to set its option.

    Example config:
    ``custom_hooks=[dict(type='LossSharesHook', gradient_interval=100)]``.

    If a share is extreme for many iterations, there is one warning.  For a
    model that is not distilled, this hook does nothing.

    Args:
        gradient_interval: after every so many iterations, measure and log
            ``grad_ratio``: the norm of the gradient of all distillation losses
            with respect to the student's FPN features, divided by that of its
            detection losses.  If crosskd does not support the student's head,
            the distilled features are used instead.  This costs two more
            backward passes through the head in these iterations.  None for
            never.
        gradient_share: arguments of a
            :class:`~crosskd.engine.hooks.gradient_share.GradientShare`, such
            as ``dict(target=0.5, tolerance=0.1)``.  After an epoch in which
            the mean share of distillation in the measured gradients was
            outside of these limits, the weights of all distillation losses
            are multiplied so that it would have been the target.  None to
            leave the weights as they are.

    Raises:
        TypeError, ValueError: an argument cannot be used.
    """

    # after the losses are noted, before the LoggerHook reads
    priority = 'NORMAL'

    def __init__(self, gradient_interval: int | None = None,
                 gradient_share: dict | None = None) -> None:
        name = type(self).__name__
        if gradient_interval is not None:
            if not isinstance(gradient_interval, int):
                raise ConfigTypeError(f'{name}: gradient_interval must be an '
                                      f'integer or None, found '
                                      f'{gradient_interval!r}')
            check_number(name, 'gradient_interval', gradient_interval, 1)
        self.gradient_interval = gradient_interval
        self._share = _read_share(name, gradient_share, gradient_interval)
        self._of_epoch: list[Tensor] = []
        self._warned: set[str] = set()
        self._ratio: Tensor | None = None
        self._hooks = ExitStack()

    def before_train(self, runner: Runner) -> None:
        """Take up the weights of a resumed run, where shares are controlled.

        Measuring is turned off for compiled models, which skip module hooks.

        Raises:
            ValueError: shares are controlled in a run without epochs.
        """
        if self._share is not None:
            if isinstance(runner.train_loop, IterBasedTrainLoop):
                raise ConfigValueError(
                    f'custom_hooks: {type(self).__name__}: gradient_share is '
                    'controlled after each epoch, but the train loop '
                    '(train_cfg) counts iterations only; expected None')
            _scale_to(runner, runner.message_hub.get_info(SCALE, 1.0))
        if self.gradient_interval and runner.cfg.get('compile'):
            self.gradient_interval = None
            runner.logger.warning(
                f'custom_hooks: {type(self).__name__}: gradient_interval: '
                'gradients cannot be measured in a compiled model (compile)')

    def before_train_iter(self, runner: Runner, batch_idx: int,
                          data_batch: Any = None) -> None:
        """Prepare to measure gradients, if they are due."""
        if self.gradient_interval is None or not self.every_n_train_iters(
                runner, self.gradient_interval):
            return
        model = _distilled(runner)
        if model is None:
            return
        model.join_teacher()  # which settles the taps
        taps = (dict(head=HEAD_INPUT) if model.has_dense_head
                else model.plan.student)
        found = self._hooks.enter_context(tapped(model, taps))
        self._hooks.callback(model.register_forward_hook(
            partial(self._measure, found, _scale(runner))).remove)

    def _measure(self, found: dict[str, list[Tensor]], scale: float,
                 model: DistillationMixin, _: Any, losses: dict) -> None:
        """Measure the gradients of both kinds of losses, not of parameters."""
        names = model.distillers.loss_names
        features = [x for maps in found.values() for x in maps
                    if x.requires_grad]
        if not features:
            return
        norms: list[Tensor] = []
        with torch.autocast(features[0].device.type, enabled=False):
            for distils in (True, False):
                total = sum(x.mean() for key, value in losses.items()
                            if 'loss' in key and (key in names) == distils
                            for x in (value if isinstance(value, (
                                list, tuple)) else [value]))
                if not isinstance(total, Tensor) or not total.requires_grad:
                    return
                grads = torch.autograd.grad(
                    scale * total, features, retain_graph=True,
                    allow_unused=True)
                slopes = [g.float().norm() for g in grads if g is not None]
                if not slopes:  # all of these losses have a weight of 0
                    return
                norms.append(torch.stack(slopes).norm())
        self._ratio = norms[0] / norms[1]

    def after_train_iter(self, runner: Runner, batch_idx: int,
                         data_batch: Any = None,
                         outputs: dict | None = None) -> None:
        """Compute the shares if the losses are about to be printed."""
        self._hooks.close()
        if self._ratio is not None:
            runner.message_hub.update_scalar('train/grad_ratio', self._ratio)
            self._of_epoch.append(self._ratio)
            self._ratio = None
        logger = next((h for h in runner.hooks if isinstance(h, LoggerHook)),
                      None)
        if logger is None or not (
                self.every_n_inner_iters(batch_idx, logger.interval)
                or self.end_of_epoch(runner.train_dataloader, batch_idx)):
            return
        model = _distilled(runner)
        if model is None or not model.distillers.loss_names:
            return
        names = sorted(model.distillers.loss_names)
        window = runner.log_processor.window_size
        total = _mean(runner, 'loss', window)
        for name in names:
            if total:
                runner.message_hub.update_scalar(
                    f'train/share_{name.removeprefix("loss_")}',
                    _mean(runner, name, window) / total)
        for key, message in _out_of_proportion(runner, names):
            if key not in self._warned:
                self._warned.add(key)
                runner.logger.warning(message)

    def after_train_epoch(self, runner: Runner) -> None:
        """Scale the weights if the share of the epoch was outside of limits.
        """
        ratios, self._of_epoch = self._of_epoch, []
        model = _distilled(runner)
        if self._share is None or model is None or not ratios:
            return
        mean = torch.stack(ratios).mean()
        all_reduce(mean, 'mean')  # every process scales alike
        ratio = float(mean)
        change = self._share.change(ratio)
        if change == 1.0:
            return
        scale = change * model.distillers.schedules.scale
        runner.message_hub.update_info(SCALE, scale)  # for checkpoints
        _scale_to(runner, scale)
        runner.logger.info(
            f'distillation was {ratio / (1 + ratio):.1%} of the gradient in '
            f'this epoch, outside of {self._share.target:.1%} ± '
            f'{self._share.tolerance:.1%}; from now on its losses are '
            f'multiplied by {scale:.4g}')


def _read_share(name: str, given: dict | None,
                interval: int | None) -> GradientShare | None:
    if given is None:
        return None
    if not isinstance(given, dict):
        raise ConfigTypeError(
            f'{name}: gradient_share must be a dict such as dict(target=0.5, '
            f'tolerance=0.1), or None, found {given!r}')
    if interval is None:
        raise ConfigValueError(f'{name}: gradient_share needs '
                               'gradient_interval, which is None')
    with naming(f'{name}: gradient_share: '):
        return GradientShare(**given)


def _scale_to(runner: Runner, scale: float) -> None:
    model = _distilled(runner)
    if model is not None:
        model.distillers.schedules.scale = scale


def _out_of_proportion(runner: Runner, names: Sequence[str]
                       ) -> Iterator[tuple[str, str]]:
    """Keys and warnings for shares that have been extreme for long."""
    window = max(SHORTEST, min(LONG, runner.max_iters // QUARTER))
    done = runner.iter + 1
    if done < window:
        return
    total = _last(runner, 'loss', window)
    if len(total) < window:
        return
    shares = {name: _last(runner, name, window) / np.where(
        total == 0, np.nan, total) for name in names}
    of_all = sum(shares.values())
    over = f'in {MOSTLY:.0%} of the last {window} iterations'
    if np.mean(of_all > TOO_MUCH) >= MOSTLY:
        means = {name: float(np.nanmean(x)) for name, x in shares.items()}
        most = max(means, key=means.__getitem__)
        yield 'loss', (
            f'iteration {done}: distillation was more than {TOO_MUCH:.0%} of '
            f'the loss {over}, so the student learns almost nothing from the '
            f'annotations. The largest loss is {most} ({means[most]:.1%}). '
            f'Lower loss_weight in kd_cfg.{most}, unless the detection losses '
            'are falling anyway')
    for name, share in shares.items():
        # a loss of 0 has a weight of 0
        if np.mean((share > 0) & (share < TOO_LITTLE)) >= MOSTLY:
            yield name, (
                f'iteration {done}: {name} was less than {TOO_LITTLE:.1%} of '
                f'the loss {over}, so it has almost no effect. Raise its '
                'loss_weight (kd_cfg), or remove it. It is also this small if '
                'the student already predicts the same as its teacher')


def _distilled(runner: Runner) -> DistillationMixin | None:
    model = unwrapped(runner.model)
    return model if isinstance(model, DistillationMixin) else None


def _last(runner: Runner, name: str, count: int) -> np.ndarray:
    history = runner.message_hub.log_scalars.get(f'train/{name}')
    return np.zeros(0) if history is None else history.data[0][-count:]


def _mean(runner: Runner, name: str, window: int) -> float:
    return float(np.mean(_last(runner, name, window)))


def _scale(runner: Runner) -> float:
    """The factor of losses in float16, which keeps gradients above 0."""
    scaler = getattr(runner.optim_wrapper, 'loss_scaler', None)
    return getattr(scaler, 'get_scale', lambda: 1.0)()
