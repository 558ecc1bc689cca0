"""mmengine's Runner tells a distilled detector where its config file is.

What: ``mmengine.runner.Runner.build_model`` also sets ``teacher.beside`` of
the detector that it builds to the folder of the config file, and raises
errors about the config of such a detector with its key and a near name.
Why: a relative ``teacher_config`` is looked up there, and mmengine gives a
model its own part of the config alone, without the name of the file.  Of a
key that it does not know, Python names a class and not the key.
Until: no end in sight; neither OpenMMLab's 0.10.7 nor OneDL's 0.10.12 tells
a model that.
"""
import functools
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from mmengine.runner import Runner
from torch import nn

from ..errors import for_users


def tell_where_configs_lie() -> None:
    """Let every Runner do so, also in mmdet's own train tool."""
    build = Runner.build_model

    @functools.wraps(build)
    def build_model(self: Runner, model: Any) -> nn.Module:
        with for_users() if _distils(model) else nullcontext():
            built = build(self, model)
        if self.cfg.filename and getattr(built, 'is_distilled', False):
            built.teacher.beside = Path(self.cfg.filename).parent
        return built

    Runner.build_model = build_model


def _distils(model: Any) -> bool:
    """Whether a model's config has a key of a distilled detector's."""
    return isinstance(model, dict) and any(
        str(key).startswith(('kd_', 'teacher_')) for key in model)
