"""What teacher, student and cross head make of one image."""
import copy
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import torch
from mmdet.structures import DetDataSample
from mmengine.dataset import pseudo_collate
from mmengine.structures import InstanceData
from torch import Tensor

from ...detectors import DistillationMixin
from ...detectors.copied_head import copied_head
from ...heads import HeadAdapter
from ...numerics.modes import eval_mode
from ...numerics.randomness import untouched_randomness
from ...pairs import DensePass
from ...taps import Needs
from .pixels import as_picture

NOTHING_THERE = -math.inf  # logits of levels without cross-head predictions


@dataclass
class Boxes:
    """Boxes on an image, in pixels of the file.

    Attributes:
        corners: (n, 4), xyxy.
        names: of the class of each.
        scores: of each; None for ground truth.
    """
    corners: np.ndarray
    names: list[str]
    scores: np.ndarray | None = None


@dataclass
class View:
    """All that is drawn of one image.

    Attributes:
        image: (h, w, 3), RGB, as the detectors see it but without padding;
            see :func:`~crosskd.apps.visualization.pixels.as_picture`.
        size: height and width of the file.
        boxes: by whose they are.
        levels: the stride of each level that both detectors have.
        extents: left, right, bottom and top of the maps of each level, in
            pixels of the file.
        maps: by name, for each level (h, w); scores, and what there is of each
            distillation loss at each location.
    """
    image: np.ndarray
    size: tuple[int, int]
    boxes: dict[str, Boxes] = field(default_factory=dict)
    levels: list[int] = field(default_factory=list)
    extents: list[tuple[float, ...]] = field(default_factory=list)
    maps: dict[str, list[np.ndarray]] = field(default_factory=dict)


#: names of the maps of scores
SCORES = ("teacher's score", "student's score")


class LocatedPass(DensePass):
    """A paired pass that keeps the losses of single locations."""

    def by_level(self, values: Tensor) -> list[Tensor]:
        sums = super().by_level(values)
        self.located = [*getattr(self, 'located', ()), (sums, values)]
        return sums

    @property
    def has_cross_head(self) -> bool:
        """Whether there are cross-head predictions."""
        return bool(self._cross_head)

    def of_teacher(self, name: str) -> list[Tensor]:
        """An output of the teacher's on all of its levels."""
        return self._taught.outputs[name]

    def of_locations(self, sums: object) -> list[Tensor] | None:
        """Per level (H, W), what such sums are made of in the first image.

        None for sums that :meth:`by_level` has not made.
        """
        values = next((v for s, v in getattr(self, 'located', ())
                       if s is sums), None)
        if values is None:
            return None
        levels = values[0].split(self.geometry('teacher').counts)
        return [x.view(*like.shape[2:], -1).sum(-1) for x, like in zip(
            levels, self.maps('teacher', 'cls'))]


def look(model: DistillationMixin, item: dict, truth: Sequence[dict],
         classes: Sequence[str] | None) -> View:
    """Run teacher, student and cross-head predictions on an image.

    The model, what it has counted and random numbers are left as they are.

    Args:
        model: the student, which has been trained for a step at least.
        item: the image, as the pipeline of the validation data packs it.
        truth: its objects, as mmengine's data sets hold them: a dict with
            ``bbox``, ``bbox_label`` and ``ignore_flag`` each.
        classes: names of the student's classes.
    """
    objects = [x for x in truth if not x.get('ignore_flag')]
    corners = np.array([x['bbox'] for x in objects], float).reshape(-1, 4)
    labels = torch.tensor([x['bbox_label'] for x in objects]).long()
    # in the one that it runs in: nothing of it is kept
    with untouched_randomness(), eval_mode(model):
        batch = model.data_preprocessor(
            pseudo_collate([copy.deepcopy(item)]), training=False)
        inputs, (sample, ) = batch['inputs'], batch['data_samples']
        sample.gt_instances = InstanceData(
            bboxes=inputs.new_tensor(corners) * inputs.new_tensor(
                _scale(sample) * 2),
            labels=labels.to(inputs.device))
        if 'ignored_instances' in sample:  # in pixels of the file
            del sample.ignored_instances
        view = _empty(item, sample)
        names = _Names(classes)
        view.boxes['ground truth'] = Boxes(corners, names(labels))
        with torch.no_grad():
            features = [x.detach() for x in model.extract_feat(inputs)]
            found, = model.bbox_head.predict(
                tuple(features), [sample], rescale=True)
        with copied_head(model), torch.enable_grad():
            paired, learned = _pair(
                model, inputs, [x.requires_grad_() for x in features], sample)
            losses = copy.deepcopy(model.distillers)(paired)
            _add_scores(view, paired, sample)
            _add_losses(view, paired, losses, learned)
    taught = _Names(_teachers_classes(model) or (
        classes if classes and len(classes) == paired.teacher.num_classes
        else None))
    for whose, boxes in _teachers_boxes(paired, sample).items():
        view.boxes[whose] = _read(boxes, taught)
        if whose == 'teacher':
            view.boxes['student'] = _read(found, names)
    return view


def _pair(model: DistillationMixin, inputs: Tensor, features: list[Tensor],
          sample: DetDataSample) -> tuple[LocatedPass, list[Tensor]]:
    """The step of a training, on features that get a gradient."""
    _, paired = model.paired(
        inputs, [sample],
        partial(model.bbox_head.loss, tuple(features), [sample]),
        model.distillers.needs | Needs(frozenset(model.teacher.head.outputs)),
        LocatedPass)
    return paired, [features[i] for i in paired.student_levels]


def _add_scores(view: View, paired: LocatedPass,
                sample: DetDataSample) -> None:
    head = paired.teacher
    across, down = _scale(sample)
    for level, maps in zip(paired.teacher_levels,
                           paired.maps('teacher', 'cls')):
        x, y = head.strides[level]
        # a cell around the middle of each location
        left, top = (head.offset - 0.5) * x, (head.offset - 0.5) * y
        view.levels.append(x)
        view.extents.append((
            left / across, (left + maps.size(3) * x) / across,
            (top + maps.size(2) * y) / down, top / down))
    for name, whose in zip(SCORES, ('teacher', 'student')):
        view.maps[name] = [_array(x[0].detach().float().sigmoid().amax(0))
                           for x in paired.maps(whose, 'cls')]


def _add_losses(view: View, paired: LocatedPass,
                losses: Mapping[str, Tensor | list[Tensor]],
                features: Sequence[Tensor]) -> None:
    """A map of each distillation loss that is not switched off.

    A loss that is not one of single locations has a gradient at each.
    """
    for name, loss in losses.items():
        total = sum(x.sum() for x in (
            loss if isinstance(loss, list) else [loss]))
        if not isinstance(total, Tensor) or not total.requires_grad:
            continue
        located = paired.of_locations(loss)
        if located is not None:
            view.maps[name] = [_array(x) for x in located]
            continue
        slopes = torch.autograd.grad(
            total, features, retain_graph=True, allow_unused=True)
        view.maps[f'gradient of {name}'] = [
            _array((torch.zeros_like(x) if g is None else g)[0].norm(dim=0))
            for g, x in zip(slopes, features)]


@torch.no_grad()
def _teachers_boxes(paired: LocatedPass,
                    sample: DetDataSample) -> dict[str, InstanceData]:
    """Detections of the teacher and, where there is one, of the cross head."""
    adapter = paired.teacher
    every = range(len(adapter.strides))
    own = {name: [x.detach().float() for x in paired.of_teacher(name)]
           for name in adapter.outputs}
    made = dict(teacher=own)
    if paired.has_cross_head:
        place = {level: i for i, level in enumerate(paired.teacher_levels)}
        made['cross head'] = {
            name: [paired.maps('cross_head', name)[place[i]].detach().float()
                   if i in place else torch.full_like(
                       maps[i], NOTHING_THERE) if name == 'cls' else maps[i]
                   for i in every] for name, maps in own.items()}
    return {whose: _detect(adapter, maps, sample)
            for whose, maps in made.items()}


def _detect(adapter: HeadAdapter, maps: Mapping[str, list[Tensor]],
            sample: DetDataSample) -> InstanceData:
    found, = adapter.head.predict_by_feat(
        *adapter.unnamed(maps), batch_img_metas=[sample.metainfo],
        rescale=True)
    return found


class _Names:
    """Names of labels; their numbers, where the names are not known."""

    def __init__(self, classes: Sequence[str] | None) -> None:
        self._classes = classes or ()

    def __call__(self, labels: Tensor) -> list[str]:
        return [self._classes[i] if i < len(self._classes) else f'class {i}'
                for i in labels.tolist()]


def _teachers_classes(model: DistillationMixin) -> Sequence[str] | None:
    return model.pair.teacher_classes or model.teacher.classes


def _read(found: InstanceData, names: _Names) -> Boxes:
    return Boxes(_array(found.bboxes), names(found.labels),
                 _array(found.scores))


def _scale(sample: DetDataSample) -> tuple[float, float]:
    """By what the file was scaled, in x and y."""
    across, down = sample.get('scale_factor', (1.0, 1.0))[:2]
    return float(across), float(down)


def _empty(item: dict, sample: DetDataSample) -> View:
    """A view of the image alone."""
    pixels = item['inputs']
    size = tuple(sample.get('ori_shape', pixels.shape[1:])[:2])
    across, down = _scale(sample)
    # some pipelines pad, and say that this is the image
    height = min(round(size[0] * down), pixels.size(1))
    width = min(round(size[1] * across), pixels.size(2))
    pixels = pixels[:, :height, :width].cpu().numpy().transpose(1, 2, 0)
    # as mmcv reads files, BGR
    return View(np.ascontiguousarray(as_picture(pixels)[..., ::-1]), size)


def _array(x: Tensor) -> np.ndarray:
    return x.detach().float().cpu().numpy()
