"""Skipping steps whose gradient is NaN or infinite."""
from typing import Any

import torch
from mmdet.registry import HOOKS
from mmengine.hooks import Hook
from mmengine.optim import OptimWrapper, OptimWrapperDict
from mmengine.runner import Runner

from ...arguments import check_number
from ...compat.optimizer_step import before_each_step
from ...detectors import DistillationMixin
from ...detectors.nonfinite import ADVICE
from ...detectors.unwrapping import unwrapped
from ...errors import ConfigTypeError


@HOOKS.register_module()
class SkipNonFiniteHook(Hook):
    """Skip steps whose gradient is not finite, instead of ending the run.

    Example config: ``custom_hooks=[dict(type='SkipNonFiniteHook',
    max_in_a_row=50)]``.

    A skipped step changes no weight and no momentum, and applies no weight
    decay.  It is logged, and the detector logs which loss of which level was
    not finite.  With gradient accumulation, the whole accumulated step is
    skipped.  With DDP, all processes have the same gradients by then, so they
    skip together.  With ``--amp``, torch's loss scaling skips the step.

    Args:
        max_in_a_row: after this many skipped steps in a row the run ends with
            an error, because it has diverged.  Loss scaling may skip about
            twenty at the start, to find its scale.

    Raises:
        FloatingPointError: ``max_in_a_row`` is reached, or a buffer (running
            statistics) of the model is not finite, either; skipping steps
            cannot repair that.
        TypeError, ValueError: ``max_in_a_row`` is not a positive integer.
    """

    def __init__(self, max_in_a_row: int = 50) -> None:
        name = type(self).__name__
        if not isinstance(max_in_a_row, int):
            raise ConfigTypeError(
                f'{name}: max_in_a_row must be an integer, found '
                f'{max_in_a_row!r}')
        self.max_in_a_row = check_number(name, 'max_in_a_row', max_in_a_row, 1)
        self._in_a_row = 0
        self._stepped = False
        self._dropped = False

    def before_train(self, runner: Runner) -> None:
        """Look at the gradients before each step of an optimizer."""
        model = unwrapped(runner.model)
        if isinstance(model, DistillationMixin):
            model.stops_at_nonfinite = False
        for wrapper in _wrappers(runner):
            before_each_step(wrapper.optimizer, self._drop)

    def _drop(self, optimizer: torch.optim.Optimizer) -> None:
        self._stepped = True
        gradients = [
            p.grad for group in optimizer.param_groups
            for p in group['params'] if p.grad is not None
        ]
        if gradients and not _all_finite(gradients):
            # optimizers skip parameters without a gradient
            optimizer.zero_grad(set_to_none=True)
            self._dropped = True

    def after_train_iter(self, runner: Runner, batch_idx: int,
                         data_batch: Any = None,
                         outputs: dict | None = None) -> None:
        """Log a skipped step; end the run if skipping does not help."""
        loss = (outputs or {}).get('loss')
        seen = self._dropped or not (loss is None or _all_finite([loss]))
        self._count(runner)
        if seen:
            self._check_buffers(runner)
            runner.logger.warning(
                f'iteration {runner.iter + 1}: the gradient is not finite; '
                'the step is skipped, and no weight changes')
        if self._in_a_row >= self.max_in_a_row:
            raise FloatingPointError(
                f'iteration {runner.iter + 1}: {self._in_a_row} steps in a '
                'row were not finite and were skipped (SkipNonFiniteHook, '
                'max_in_a_row), so the run has diverged. '
                f'{ADVICE}; then start again, or resume from a checkpoint '
                'that was written before it diverged')

    def _count(self, runner: Runner) -> None:
        """Count this iteration if it ends with a step."""
        if self._dropped:
            self._in_a_row += 1
        elif self._stepped:
            self._in_a_row = 0
        elif any(hasattr(w, 'loss_scaler') and w.should_update()
                 for w in _wrappers(runner)):
            self._in_a_row += 1  # loss scaling skipped the step
        self._stepped = self._dropped = False

    def _check_buffers(self, runner: Runner) -> None:
        for name, buffer in runner.model.named_buffers():
            if not buffer.isfinite().all():
                raise FloatingPointError(
                    f'iteration {runner.iter + 1}: neither the gradient nor '
                    f'the buffer {name} is finite, and skipping steps cannot '
                    f'repair a buffer. {ADVICE}; then resume from the last '
                    'checkpoint')


def _wrappers(runner: Runner) -> list[OptimWrapper]:
    wrapper = runner.optim_wrapper
    return list(wrapper.values() if isinstance(wrapper, OptimWrapperDict)
                else [wrapper])


def _all_finite(tensors: Any) -> bool:
    return bool(torch.stack([x.isfinite().all() for x in tensors]).all())
