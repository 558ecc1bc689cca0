"""Saving and resuming parameters that do not belong to the student."""
from mmdet.registry import HOOKS
from mmengine.hooks import EMAHook, Hook
from mmengine.runner import Runner
from torch import nn

from ...checkpoints.auxiliary import auxiliary_state, load_auxiliary_state
from ...detectors.unwrapping import unwrapped

KEY = 'distillation_state_dict'


@HOOKS.register_module()
class AuxiliaryStateHook(Hook):
    """Save and resume the weights of distillers and channel adapters.

    They are in the checkpoint under ``distillation_state_dict`` (and their
    averages, with an ``EMAHook``, under ``ema_distillation_state_dict``).
    ``state_dict`` has only the student.  If there are no such weights, the
    checkpoint has no such key.  The ``DistillationRunner`` adds this hook.

    Example config, for other Runners:
    ``custom_hooks=[dict(type='AuxiliaryStateHook')]``.

    Raises:
        ValueError: a run resumes from a checkpoint with other losses or
            channel adapters than those of ``kd_cfg`` and the teacher.
    """

    def before_save_checkpoint(self, runner: Runner,
                               checkpoint: dict) -> None:
        """Add them to the checkpoint."""
        for key, module in _modules(runner).items():
            state = auxiliary_state(module)
            if state:
                checkpoint[key] = {
                    name: value.detach().cpu()
                    for name, value in state.items()
                }

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Load them, if the run is resumed."""
        if not runner._resume:  # load_from only loads the student
            return
        for key, module in _modules(runner).items():
            load_auxiliary_state(module, checkpoint.get(key, {}),
                              f"--resume: the checkpoint's {key}")


def _modules(runner: Runner) -> dict[str, nn.Module]:
    """The model, and its average if there is one, by key."""
    found = {KEY: unwrapped(runner.model)}
    for hook in runner.hooks:
        if isinstance(hook, EMAHook):
            found[f'ema_{KEY}'] = hook.ema_model.module
    return found
