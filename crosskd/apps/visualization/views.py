"""Collecting the predictions and losses for one image."""
import copy
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from mmdet.structures import DetDataSample
from mmengine.dataset import pseudo_collate
from mmengine.structures import InstanceData
from torch import Tensor

from ...detectors import DistillationMixin
from ...detectors.copied_head import copied_head
from ...errors import ConfigValueError
from ...heads import HeadAdapter, class_counts
from ...numerics.modes import eval_mode
from ...numerics.randomness import untouched_randomness
from ...pairs import DensePair
from ...pairs.levels import match_levels
from ...taps import HEAD_INPUT, Needs
from .passes import LocatedPass, SeenPass
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
class Heat:
    """A map of one level.

    Attributes:
        values: (h, w).
        stride: of the level.
        extent: left, right, bottom and top of the map, in pixels of the file.
    """
    values: np.ndarray
    stride: float
    extent: tuple[float, ...]


@dataclass
class View:
    """Everything that is drawn for one image.

    Attributes:
        image: (h, w, 3), RGB, as the detectors see it but without padding;
            see :func:`~crosskd.apps.visualization.pixels.as_picture`.
        size: height and width of the file.
        boxes: by their owner, such as the teacher.
        maps: by name, for each level that both detectors have: the scores of
            two dense heads, and each distillation loss at each location.
    """
    image: np.ndarray
    size: tuple[int, int]
    boxes: dict[str, Boxes] = field(default_factory=dict)
    maps: dict[str, list[Heat]] = field(default_factory=dict)


#: names of the maps of scores
SCORES = ("teacher's score", "student's score")
#: stride and extent of a map
Frame = tuple[float, tuple[float, ...]]


class _Place(NamedTuple):
    """Features of the student whose gradients are shown."""
    where: str
    features: list[Tensor]
    frames: list[Frame]


def look(model: DistillationMixin, item: dict, truth: Sequence[dict],
         classes: Sequence[str] | None) -> View:
    """Run teacher, student and cross-head predictions on an image.

    The model, its counters and random numbers do not change.

    Args:
        model: the student, after at least one training step.
        item: the image, as the pipeline of the validation data packs it.
        truth: its objects, as mmengine's data sets hold them: a dict with
            ``bbox``, ``bbox_label`` and ``ignore_flag`` each.
        classes: names of the student's classes.
    """
    objects = [x for x in truth if not x.get('ignore_flag')]
    corners = np.array([x['bbox'] for x in objects], float).reshape(-1, 4)
    labels = torch.tensor([x['bbox_label'] for x in objects]).long()
    # in the type that it runs in: nothing is kept
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
        with torch.no_grad():
            found = model.predict(inputs, [copy.deepcopy(sample)])
        levels = _common_levels(model)
        with (copied_head(model) if model.has_dense_head else nullcontext()), (
                torch.enable_grad()):
            paired = _pair(model, inputs, sample, bool(levels))
            losses = copy.deepcopy(model.distillers)(paired)
            frames = _add_scores(view, levels, paired, sample)
            _add_losses(view, paired, losses, frames, [
                *_places(model, paired, levels, frames, sample)])
    taught = _teachers_boxes(model, paired, inputs, sample, bool(levels))
    names, theirs = _Names(classes), _Names(_teachers_classes(model, classes))
    view.boxes['ground truth'] = Boxes(corners, names(labels))
    for whose, boxes, known in (
            ('teacher', taught['teacher'], theirs),
            ('student', _detections(found), names),
            ('cross head', taught.get('cross head'), theirs)):
        if boxes is not None:
            view.boxes[whose] = Boxes(_array(boxes.bboxes),
                                      known(boxes.labels),
                                      _array(boxes.scores))
    return view


def _common_levels(model: DistillationMixin) -> list[tuple[int, int]]:
    """Indices of the levels of two dense heads that are known; else none."""
    if model.has_dense_head and model.teacher.has_dense_head:
        # other features than those of the heads may be distilled
        with suppress(ConfigValueError):
            return match_levels(model.head_adapter.strides,
                                model.teacher.head.strides)
    return []


def _pair(model: DistillationMixin, inputs: Tensor, sample: DetDataSample,
          dense: bool) -> SeenPass:
    """Run a training step if there are dense heads.

    Other students may have losses only in training mode, so only their forward
    runs.
    """
    needs = model.distillers.needs
    if dense:
        needs |= Needs(frozenset(model.teacher.head.outputs))
    run = None if model.has_dense_head else partial(
        model.forward, inputs, [sample], mode='tensor')
    # so that features of frozen parts have a gradient, too
    _, paired = model.paired(
        inputs.requires_grad_(), [sample], run, needs,
        LocatedPass if isinstance(model.pair, DensePair) else SeenPass)
    return paired


def _add_scores(view: View, levels: Sequence[tuple[int, int]],
                paired: SeenPass, sample: DetDataSample) -> list[Frame]:
    """Add score maps of two dense heads; return how the maps lie."""
    if not levels:
        return []
    learned, taught = (seen.outputs['cls'] for seen in paired.records)
    head = paired.records[1].adapter
    across, down = _scale(sample)
    frames: list[Frame] = []
    for _, level in levels:
        x, y = head.strides[level]
        height, width = taught[level].shape[2:]
        # a cell around the middle of each location
        left, top = (head.offset - 0.5) * x, (head.offset - 0.5) * y
        frames.append((x, (
            left / across, (left + width * x) / across,
            (top + height * y) / down, top / down)))
    for name, maps in zip(SCORES, ([taught[j] for _, j in levels],
                                   [learned[i] for i, _ in levels])):
        view.maps[name] = _heats(
            (x[0].detach().float().sigmoid().amax(0) for x in maps), frames)
    return frames


def _places(model: DistillationMixin, paired: SeenPass,
            levels: Sequence[tuple[int, int]], frames: list[Frame],
            sample: DetDataSample) -> Iterator[_Place]:
    """The student's FPN features, if heads are compared, and its taps."""
    learned, _ = paired.records
    if levels:
        yield _Place('', [learned.given[i] for i, _ in levels], frames)
    across, down = _scale(sample)
    for name, tap in model.plan.student.items():
        if levels and tap == HEAD_INPUT:
            continue
        maps = [learned.features[name][i]
                for i, _ in model.pair.matched[name]]
        yield _Place(f' at the {tap}', maps, [
            (x, (0.0, m.size(3) * x / across, m.size(2) * y / down, 0.0))
            for m, (y, x) in zip(maps, model.pair.strides[name])])


def _add_losses(view: View, paired: SeenPass,
                losses: Mapping[str, Tensor | list[Tensor]],
                frames: Sequence[Frame], places: Sequence[_Place]) -> None:
    """Add a map of each distillation loss that is not switched off.

    If a loss is not a sum over locations, the map shows its gradient.
    """
    for name, loss in losses.items():
        total = sum(x.sum() for x in (
            loss if isinstance(loss, list) else [loss]))
        if not isinstance(total, Tensor) or not total.requires_grad:
            continue
        located = paired.of_locations(loss)
        if located is not None:
            view.maps[name] = _heats(located, frames)
            continue
        for where, features, theirs in places:
            slopes = torch.autograd.grad(
                total, features, retain_graph=True, allow_unused=True)
            if any(g is not None for g in slopes):
                view.maps[f'gradient of {name}{where}'] = _heats((
                    (torch.zeros_like(x) if g is None else g)[0].norm(dim=0)
                    for g, x in zip(slopes, features)), theirs)


def _heats(maps: Iterable[Tensor], frames: Iterable[Frame]) -> list[Heat]:
    return [Heat(_array(x), *frame) for x, frame in zip(maps, frames)]


@torch.no_grad()
def _teachers_boxes(model: DistillationMixin, paired: SeenPass,
                    inputs: Tensor, sample: DetDataSample,
                    dense: bool) -> dict[str, InstanceData | None]:
    """Detections of the teacher and, if there are any, cross-head ones."""
    if not dense:
        return dict(teacher=_detections(
            model.teacher.predict(inputs, [sample])))
    _, taught = paired.records
    adapter = taught.adapter
    own = {name: [x.detach().float() for x in taught.outputs[name]]
           for name in adapter.outputs}
    made = dict(teacher=own)
    if isinstance(paired, LocatedPass) and paired.has_cross_head:
        place = {level: i for i, level in enumerate(paired.teacher_levels)}
        made['cross head'] = {
            name: [paired.maps('cross_head', name)[place[i]].detach().float()
                   if i in place else torch.full_like(
                       maps[i], NOTHING_THERE) if name == 'cls' else maps[i]
                   for i in range(len(maps))] for name, maps in own.items()}
    return {whose: _detect(adapter, maps, sample)
            for whose, maps in made.items()}


def _detect(adapter: HeadAdapter, maps: Mapping[str, list[Tensor]],
            sample: DetDataSample) -> InstanceData:
    found, = adapter.head.predict_by_feat(
        *adapter.unnamed(maps), batch_img_metas=[sample.metainfo],
        rescale=True)
    return found


def _detections(samples: Sequence[DetDataSample]) -> InstanceData | None:
    """Detections in the first image; None if the detector has no boxes."""
    return samples[0].get('pred_instances')


class _Names:
    """Names of labels; their numbers if the names are not known."""

    def __init__(self, classes: Sequence[str] | None) -> None:
        self._classes = classes or ()

    def __call__(self, labels: Tensor) -> list[str]:
        return [self._classes[i] if i < len(self._classes) else f'class {i}'
                for i in labels.tolist()]


def _teachers_classes(model: DistillationMixin, students: Sequence[str] | None
                      ) -> Sequence[str] | None:
    """Names of the teacher's classes, or else the student's, if equally many.
    """
    known = getattr(model.pair, 'teacher_classes', None)
    counts = set(class_counts(model.teacher.detector).values())
    alike = students is not None and counts == {len(students)}
    return known or model.teacher.classes or (students if alike else None)


def _scale(sample: DetDataSample) -> tuple[float, float]:
    """The factors by which the file was scaled, in x and y."""
    across, down = sample.get('scale_factor', (1.0, 1.0))[:2]
    return float(across), float(down)


def _empty(item: dict, sample: DetDataSample) -> View:
    """A view of the image alone."""
    pixels = item['inputs']
    size = tuple(sample.get('ori_shape', pixels.shape[1:])[:2])
    across, down = _scale(sample)
    # some pipelines pad, and count the padding as part of the image
    height = min(round(size[0] * down), pixels.size(1))
    width = min(round(size[1] * across), pixels.size(2))
    pixels = pixels[:, :height, :width].cpu().numpy().transpose(1, 2, 0)
    # as mmcv reads files, BGR
    return View(np.ascontiguousarray(as_picture(pixels)[..., ::-1]), size)


def _array(x: Tensor) -> np.ndarray:
    return x.detach().float().cpu().numpy()
