"""What part of the loss distillation is, in the log."""
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from functools import partial
from typing import Any

import numpy as np
import torch
from mmdet.registry import HOOKS
from mmengine.hooks import Hook, LoggerHook
from mmengine.runner import Runner
from torch import Tensor

from ...arguments import check_number
from ...detectors import DistillationMixin
from ...detectors.unwrapping import unwrapped
from ...errors import ConfigTypeError
from ...taps import HEAD_INPUT, tapped

# Distillation that helped began at up to 0.93 of the loss and ended at up to
# 0.90, most often from two thirds to below one half; undivided losses of nine
# anchors, at 0.91 to 0.84, harmed (docs/results.md).  So a share in between
# says little; beyond these limits one side has almost no gradient.
TOO_MUCH = 0.95  # of the loss is distillation
TOO_LITTLE = 0.001  # of the loss is one distillation loss
# For long: so many iterations, or a quarter of a shorter run.  mmdet's
# schedules begin with up to a thousand small steps, and RTMDet's distillation
# is hundreds of times its detection losses until its boxes are good.
LONG, QUARTER = 2000, 4
SHORTEST = 100  # of a few iterations nothing follows
MOSTLY = 0.9  # of these iterations


@HOOKS.register_module()
class LossSharesHook(Hook):
    """Log the share of each distillation loss, and warn where one is off.

    ``loss_cls_kd`` has ``share_cls_kd``, its part of the whole ``loss``
    between 0 and 1, over the same iterations as the losses beside it.  Shares
    are made of logged numbers when the ``LoggerHook`` prints: a training step
    does nothing for them.  The ``DistillationRunner`` adds this hook;
    configure it under other Runners, or for its option.

    Example config:
    ``custom_hooks=[dict(type='LossSharesHook', gradient_interval=100)]``.

    A share that is far out of proportion for long is warned of, once.  With a
    model that is not distilled this hook does nothing.

    Args:
        gradient_interval: every so many iterations, measure and log
            ``grad_ratio``: the norm of the gradient of all distillation losses
            at the student's FPN features, divided by that of its detection
            losses.  Of a student without a dense head that is known, at the
            features that are distilled.  Costs two more backward passes
            through the head in these iterations.  None for never.

    Raises:
        TypeError, ValueError: ``gradient_interval`` is no positive integer.
    """

    # after the losses are noted, before the LoggerHook reads
    priority = 'NORMAL'

    def __init__(self, gradient_interval: int | None = None) -> None:
        name = type(self).__name__
        if gradient_interval is not None:
            if not isinstance(gradient_interval, int):
                raise ConfigTypeError(f'{name}: gradient_interval must be an '
                                      f'integer or None, found '
                                      f'{gradient_interval!r}')
            check_number(name, 'gradient_interval', gradient_interval, 1)
        self.gradient_interval = gradient_interval
        self._warned: set[str] = set()
        self._ratio: Tensor | None = None
        self._hooks = ExitStack()

    def before_train(self, runner: Runner) -> None:
        """A compiled model passes the hooks over that would measure."""
        if self.gradient_interval and runner.cfg.get('compile'):
            self.gradient_interval = None
            runner.logger.warning(
                f'custom_hooks: {type(self).__name__}: gradient_interval: '
                'gradients are not measured in a compiled model (compile)')

    def before_train_iter(self, runner: Runner, batch_idx: int,
                          data_batch: Any = None) -> None:
        """Prepare to measure gradients, where it is time for that."""
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
        """Gradients of both kinds of losses; parameters get none of them."""
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
        """Make the shares, where the losses are about to be printed."""
        self._hooks.close()
        if self._ratio is not None:
            runner.message_hub.update_scalar('train/grad_ratio', self._ratio)
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


def _out_of_proportion(runner: Runner, names: Sequence[str]
                       ) -> Iterator[tuple[str, str]]:
    """Keys and warnings of what is wrong with the shares for long."""
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
            f'the loss {over}, so that the annotations have next to no say. '
            f'The largest is {most} ({means[most]:.1%}); a lower loss_weight '
            f'in kd_cfg.{most} gives them one. If the detection losses fall '
            'all the same, leave it')
    for name, share in shares.items():
        # a loss of 0 has a weight of 0
        if np.mean((share > 0) & (share < TOO_LITTLE)) >= MOSTLY:
            yield name, (
                f'iteration {done}: {name} was less than {TOO_LITTLE:.1%} of '
                f'the loss {over}, so it teaches next to nothing. Raise its '
                f'loss_weight (kd_cfg), or leave it out; a student that is '
                'already as its teacher has nothing more to learn')


def _distilled(runner: Runner) -> DistillationMixin | None:
    model = unwrapped(runner.model)
    return model if isinstance(model, DistillationMixin) else None


def _last(runner: Runner, name: str, count: int) -> np.ndarray:
    history = runner.message_hub.log_scalars.get(f'train/{name}')
    return np.zeros(0) if history is None else history.data[0][-count:]


def _mean(runner: Runner, name: str, window: int) -> float:
    return float(np.mean(_last(runner, name, window)))


def _scale(runner: Runner) -> float:
    """What losses in float16 are multiplied with, lest gradients become 0."""
    scaler = getattr(runner.optim_wrapper, 'loss_scaler', None)
    return getattr(scaler, 'get_scale', lambda: 1.0)()
