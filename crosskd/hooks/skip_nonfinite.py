"""Going on after a step that came to nothing."""
from typing import Any

import torch
from mmdet.registry import HOOKS
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.optim import OptimWrapperDict
from mmengine.runner import Runner

from ..detectors.base import DistilledSingleStageDetector


@HOOKS.register_module()
class SkipNonFiniteHook(Hook):
    """Skip steps whose gradient is not finite, instead of ending the run.

    ``custom_hooks=[dict(type='SkipNonFiniteHook')]``.  Such a step changes
    nothing: no weight, no momentum, no weight decay.  It is logged, and the
    detector logs which loss of which level was not finite.  With gradient
    accumulation the whole accumulated step is skipped.  Under DDP gradients
    are the same on all ranks by then, so all ranks skip together.  With
    ``--amp`` it is torch's loss scaling that skips the step.

    Raises:
        FloatingPointError: a buffer (running statistics) of the model is not
            finite either; skipping steps cannot mend that.
    """

    def __init__(self) -> None:
        self._dropped = False

    def before_train(self, runner: Runner) -> None:
        """Stand between the gradients and the optimizer."""
        model = runner.model
        if is_model_wrapper(model):
            model = model.module
        if isinstance(model, DistilledSingleStageDetector):
            model.stops_at_nonfinite = False
        wrapper = runner.optim_wrapper
        wrappers = (
            wrapper.values()
            if isinstance(wrapper, OptimWrapperDict) else [wrapper])
        for one in wrappers:
            one.optimizer.register_step_pre_hook(self._drop)

    def _drop(self, optimizer: torch.optim.Optimizer, *_: Any) -> None:
        gradients = [
            p.grad for group in optimizer.param_groups
            for p in group['params'] if p.grad is not None
        ]
        if gradients and not _all_finite(gradients):
            # what has no gradient is left alone by every optimizer
            optimizer.zero_grad(set_to_none=True)
            self._dropped = True

    def after_train_iter(self, runner: Runner, batch_idx: int,
                         data_batch: Any = None,
                         outputs: dict | None = None) -> None:
        """Say so, and see whether skipping was enough."""
        loss = (outputs or {}).get('loss')
        if not self._dropped and (loss is None or _all_finite([loss])):
            return
        self._dropped = False
        for name, buffer in runner.model.named_buffers():
            if not buffer.isfinite().all():
                raise FloatingPointError(
                    f'iteration {runner.iter + 1}: neither the gradient nor '
                    f'the buffer {name} is finite, and skipping steps does '
                    'not mend a buffer; resume from the last checkpoint')
        runner.logger.warning(
            f'iteration {runner.iter + 1}: the gradient is not finite; the '
            'step is skipped and no weight changes')


def _all_finite(tensors: Any) -> bool:
    return bool(torch.stack([x.isfinite().all() for x in tensors]).all())
