"""Drawing pictures of distillation during training."""
from collections.abc import Sequence
from typing import Any

import numpy as np
from mmdet.registry import HOOKS
from mmengine.hooks import Hook
from mmengine.runner import EpochBasedTrainLoop, Runner
from mmengine.visualization import Visualizer

from ...arguments import check_number
from ...detectors import DistillationMixin
from ...detectors.unwrapping import unwrapped
from ...errors import ConfigTypeError, ConfigValueError
from ...numerics.randomness import untouched_randomness
from .panels import draw
from .views import look


@HOOKS.register_module()
class DistillationVisualizationHook(Hook):
    """Draw what teacher and student predict on validation images.

    Example config:
    ``custom_hooks=[dict(type='DistillationVisualizationHook')]``.

    For each image, a picture shows side by side: ground truth, the detections
    of teacher and student and, if there are any, the cross-head predictions.
    Below, for each level: the highest class score of teacher and student, and
    a map of each distillation loss.  (If a loss is not a sum over locations,
    as in SDD and PKD, the map shows its gradient at the student's FPN
    features, or at the other features that are distilled.)  There are no
    scores unless crosskd knows the dense heads of both detectors.  The
    pictures go to all ``vis_backends`` of the run's visualizer: files,
    TensorBoard, and others.

    The hook does not change the run, which ends with the same weights as
    without it.  With several GPUs, all compute the picture's data, because
    the losses of heads need all processes, and the first one draws it.

    Args:
        images: a number of images, from the start of the validation data, or
            a list of their indices.
        interval: draw after this many epochs or iterations, and at the end; by
            default whenever the run validates.
        by_epoch: whether ``interval`` counts epochs; by default as the run.
        score_thr: detections with a lower score are not drawn.

    Raises:
        TypeError: an argument has the wrong type, or the run does not train a
            distilled detector.
        ValueError: an argument is out of range, or the validation data has too
            few images.
    """

    priority = 'LOW'

    def __init__(self,
                 images: int | Sequence[int] = 4,
                 interval: int | None = None,
                 by_epoch: bool | None = None,
                 score_thr: float = 0.3) -> None:
        name = type(self).__name__
        self.images = list(range(_whole(name, 'images', images, 1)) if
                           isinstance(images, (int, float)) else
                           (_whole(name, 'images', i, 0) for i in images))
        if not self.images:
            raise ConfigValueError(f'{name}: images: expected at least one')
        self.interval = interval
        if interval is not None:
            _whole(name, 'interval', interval, 1)
        if not (by_epoch is None or isinstance(by_epoch, bool)):
            raise ConfigTypeError(
                f'{name}: by_epoch must be True, False or None, '
                f'found {by_epoch!r}')
        self.by_epoch = by_epoch
        self.score_thr = check_number(name, 'score_thr', score_thr, 0)
        self._items: list[tuple[int, dict, list]] = []
        self._classes: Sequence[str] | None = None
        self._tried = False

    def before_train(self, runner: Runner) -> None:
        """Check that there is something to draw, and read the images."""
        model = unwrapped(runner.model)
        if not isinstance(model, DistillationMixin):
            raise ConfigTypeError(
                f'custom_hooks: {type(self).__name__} draws what a detector '
                'learns from its teacher; expected a distilled detector '
                f'(model.type), found {type(model).__name__}')
        loop = runner.train_loop
        by_epoch = isinstance(loop, EpochBasedTrainLoop)
        if self.interval is None:
            self.interval, self.by_epoch = loop.val_interval, by_epoch
        elif self.by_epoch is None:
            self.by_epoch = by_epoch
        dataset: Any = runner.val_loop and runner.val_loop.dataloader.dataset
        count = len(dataset) if dataset else 0
        if max(self.images) >= count:
            raise ConfigValueError(
                f'custom_hooks: {type(self).__name__}: images: expected '
                f'indices below {count}, the number of images in '
                f'val_dataloader, found {max(self.images)}')
        # not at the top: mmdet's data sets print warnings when imported
        from ...data_checks import built_classes
        self._classes = next(iter(built_classes(dataset)), None)
        with untouched_randomness():
            self._items = [
                (i, dataset[i], dataset.get_data_info(i)['instances'])
                for i in self.images]

    def after_train_epoch(self, runner: Runner) -> None:
        """Draw after every ``interval`` epochs."""
        if self.by_epoch and (self.every_n_epochs(runner, self.interval or 1)
                              or self.is_last_train_epoch(runner)):
            self._draw(runner, runner.epoch + 1)

    def after_train_iter(self, runner: Runner, batch_idx: int,
                         data_batch: Any = None,
                         outputs: dict | None = None) -> None:
        """Draw after every ``interval`` iterations; try it after the first."""
        if not self._tried:  # if drawing fails, it fails now, not in hours
            self._tried = True
            self._picture(runner, *self._items[0], '')
        if not self.by_epoch and (
                self.every_n_train_iters(runner, self.interval or 1)
                or self.is_last_train_iter(runner)):
            self._draw(runner, runner.iter + 1)

    def _draw(self, runner: Runner, step: int) -> None:
        unit = 'epoch' if self.by_epoch else 'iteration'
        for item in self._items:
            picture = self._picture(runner, *item, f'{unit} {step}')
            if picture is not None:
                add_image(runner.visualizer, f'distillation_{item[0]}',
                          picture, step)

    def _picture(self, runner: Runner, index: int, item: dict, truth: list,
                 when: str) -> np.ndarray | None:
        """The picture of an image, in the process that draws."""
        view = look(unwrapped(runner.model), item, truth, self._classes)
        if runner.rank != 0:
            return None
        path = item['data_samples'].get('img_path', f'image {index}')
        return draw(view, f'{path}, {when}', self.score_thr)


def add_image(visualizer: Visualizer, name: str, picture: np.ndarray,
              step: int) -> None:
    """Give a picture to each backend, under a name that it accepts."""
    for backend in visualizer._vis_backends.values():
        try:
            backend.add_image(name, picture, step)
        except Exception:  # MLflow's wants a file name and no step
            backend.add_image(f'{name}_{step}.png', picture, step)


def _whole(owner: str, key: str, value: Any, at_least: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise ConfigTypeError(
            f'{owner}: {key} must be an integer, found {value!r}')
    return int(check_number(owner, key, value, at_least))
