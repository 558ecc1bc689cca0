"""The head families that are tested: one row each.

A family is added by a row here (and by the recipe that the row reads).  What a
test asks of a family it asks of its row.
"""
from dataclasses import dataclass, field
from functools import cached_property

import pytest

from crosskd.apps.recipes.choosing import recipe_of
from crosskd.compat.mmcv_ext import is_installed

FOCAL = dict(type='FocalLoss', use_sigmoid=True, loss_weight=1.0)
QUALITY_FOCAL = dict(type='QualityFocalLoss', use_sigmoid=True, beta=2.0)
GIOU = dict(type='GIoULoss', loss_weight=2.0)
CENTERNESS = dict(type='CrossEntropyLoss', use_sigmoid=True, loss_weight=1.0)
NORM = dict(type='GN', num_groups=4, requires_grad=True)
STRIDES = [8, 16, 32]
SQUARE = dict(
    type='AnchorGenerator', ratios=[1.0], octave_base_scale=4,
    scales_per_octave=1, strides=STRIDES)
RANGES = ((-1, 32), (32, 64), (64, 1e8))
ASSIGNED = dict(allowed_border=-1, pos_weight=-1, debug=False)
ATSS = dict(type='ATSSAssigner', topk=9)


@dataclass(frozen=True)
class Family:
    """A family of heads, and what tests ask of it.

    Attributes:
        name: as tests and recipes call it.
        detector: mmdet's class.
        head: config of a small head, beside what all of them have.
        train_cfg: of its detector.
        layers: of its head that predict classes and boxes.
        paper: it is one of the four that CrossKD's paper has.
        named: it has a CrossKD detector of its own.
        compiled: it needs compiled ops of mmcv.
        compiled_in_mmdet: as mmdet's configs have it, it does.
        boxes: what it predicts: ``'deltas'`` from anchors, ``'distances'`` to
            the sides, ``'bins'`` of them, or ``'logarithms'`` of sizes.
        split: after how many layers its small head is split; 0 where that is
            all that is possible.
        third: the loss of its third output, where it has one.
        weighted: its loss weighs locations.
        flags: arguments of its head that are true or false.
        assigns_by_image: its targets are asked for image by image.
        has_eval_loss: it computes losses in eval mode, too.
        results_are_raw: it can return its boxes before anything is left out.
        changes: to its recipe, in these tests.
    """
    name: str
    detector: str
    head: dict
    train_cfg: dict | None
    layers: tuple[str, str]
    paper: bool = False
    named: bool = False
    compiled: bool = False
    compiled_in_mmdet: bool = False
    boxes: str = 'deltas'
    split: int = 1
    third: str | None = None
    weighted: bool = True
    flags: tuple[str, ...] = ()
    assigns_by_image: bool = False
    has_eval_loss: bool = True
    results_are_raw: bool = True
    changes: dict = field(default_factory=dict)

    @cached_property
    def kd_cfg(self) -> dict:
        """What is distilled between two small heads of it."""
        return {**recipe_of(self.name), 'reused_teacher_head_idx': self.split,
                **self.changes}

    @property
    def distiller(self) -> str:
        """The CrossKD detector of these tests."""
        return self.own_distiller if self.paper else (
            'CrossKDSingleStageDetector')

    @property
    def own_distiller(self) -> str:
        """The CrossKD detector that is most its own."""
        return (f'CrossKD{self.detector}' if self.named else
                'CrossKDSingleStageDetector')


FAMILY = {row.name: row for row in (
    Family(
        'retina', 'RetinaNet', paper=True, named=True,
        layers=('retina_cls', 'retina_reg'), head=dict(
            type='RetinaHead', loss_cls=FOCAL, anchor_generator=dict(
                type='AnchorGenerator', octave_base_scale=4,
                scales_per_octave=2, ratios=[0.5, 1.0], strides=STRIDES),
            loss_bbox=dict(type='L1Loss', loss_weight=1.0)),
        train_cfg=dict(
            assigner=dict(
                type='MaxIoUAssigner', pos_iou_thr=0.5, neg_iou_thr=0.4,
                min_pos_iou=0, ignore_iof_thr=-1),
            sampler=dict(type='PseudoSampler'), **ASSIGNED)),
    Family(
        'gfl', 'GFL', paper=True, named=True, boxes='bins',
        layers=('gfl_cls', 'gfl_reg'), head=dict(
            type='GFLHead', norm_cfg=NORM, anchor_generator=SQUARE, reg_max=8,
            loss_cls=QUALITY_FOCAL, loss_bbox=GIOU),
        train_cfg=dict(assigner=ATSS, **ASSIGNED)),
    Family(
        'atss', 'ATSS', paper=True, named=True, third='loss_center_kd',
        layers=('atss_cls', 'atss_reg'), head=dict(
            type='ATSSHead', norm_cfg=NORM, anchor_generator=SQUARE,
            loss_cls=FOCAL, loss_bbox=GIOU, loss_centerness=CENTERNESS),
        train_cfg=dict(assigner=ATSS, **ASSIGNED)),
    Family(
        'fcos', 'FCOS', paper=True, named=True, boxes='distances',
        third='loss_center_kd', weighted=False,
        flags=('norm_on_bbox', 'centerness_on_reg', 'center_sampling'),
        # the losses of the others, with which it is compared
        changes={key: recipe_of('retina')[key]
                 for key in ('loss_cls_kd', 'loss_reg_kd')},
        layers=('conv_cls', 'conv_reg'), head=dict(
            type='FCOSHead', norm_cfg=NORM, strides=STRIDES,
            regress_ranges=RANGES, loss_cls=FOCAL,
            loss_bbox=dict(type='IoULoss', loss_weight=1.0),
            loss_centerness=CENTERNESS),
        train_cfg=None),
    Family(
        'rtmdet', 'RTMDet', named=True, boxes='distances',
        layers=('rtm_cls', 'rtm_reg'), head=dict(
            type='RTMDetSepBNHead', with_objectness=False, exp_on_reg=True,
            norm_cfg=dict(type='BN'), act_cfg=dict(type='SiLU', inplace=True),
            anchor_generator=dict(
                type='MlvlPointGenerator', offset=0, strides=STRIDES),
            bbox_coder=dict(type='DistancePointBBoxCoder'),
            loss_cls=QUALITY_FOCAL, loss_bbox=GIOU),
        train_cfg=dict(
            assigner=dict(type='DynamicSoftLabelAssigner', topk=13),
            **ASSIGNED)),
    Family(
        'yolox', 'YOLOX', boxes='logarithms', third='loss_obj_kd',
        assigns_by_image=True,
        layers=('multi_level_conv_cls', 'multi_level_conv_reg'),
        head=dict(type='YOLOXHead', strides=tuple(STRIDES)),
        train_cfg=dict(assigner=dict(type='SimOTAAssigner'))),
    Family(
        'paa', 'PAA', third='loss_center_kd', assigns_by_image=True,
        results_are_raw=False,  # it predicts after NMS alone
        layers=('atss_cls', 'atss_reg'), head=dict(
            type='PAAHead', reg_decoded_bbox=True, norm_cfg=NORM,
            anchor_generator=SQUARE, loss_cls=FOCAL,
            loss_bbox=dict(type='GIoULoss', loss_weight=1.3),
            loss_centerness=dict(CENTERNESS, loss_weight=0.5)),
        train_cfg=dict(
            assigner=dict(
                type='MaxIoUAssigner', pos_iou_thr=0.1, neg_iou_thr=0.1,
                min_pos_iou=0, ignore_iof_thr=-1), **ASSIGNED)),
    Family(
        'ddod', 'DDOD', third='loss_center_kd', compiled_in_mmdet=True,
        layers=('atss_cls', 'atss_reg'), head=dict(
            type='DDODHead', use_dcn=False, norm_cfg=NORM,
            anchor_generator=SQUARE, loss_cls=FOCAL, loss_bbox=GIOU,
            loss_iou=CENTERNESS),
        train_cfg=dict(
            assigner=dict(ATSS, alpha=0.8),
            reg_assigner=dict(ATSS, alpha=0.5), **ASSIGNED)),
    Family(
        'vfnet', 'VFNet', compiled=True, compiled_in_mmdet=True,
        boxes='distances', has_eval_loss=False,
        layers=('vfnet_cls', 'vfnet_reg'), head=dict(
            type='VFNetHead', norm_cfg=NORM, strides=STRIDES,
            regress_ranges=RANGES,
            anchor_generator=dict(SQUARE, center_offset=0.0)),
        train_cfg=dict(assigner=ATSS, **ASSIGNED)),
    Family(
        'tood', 'TOOD', compiled=True, compiled_in_mmdet=True,
        boxes='distances', split=0,
        layers=('tood_cls', 'tood_reg'), head=dict(
            type='TOODHead', norm_cfg=NORM, stacked_convs=3,
            anchor_generator=SQUARE,
            loss_cls=dict(QUALITY_FOCAL, activated=True), loss_bbox=GIOU),
        train_cfg=dict(
            initial_epoch=4, initial_assigner=ATSS,
            assigner=dict(type='TaskAlignedAssigner', topk=13),
            alpha=1, beta=6, **ASSIGNED)),
)}


def quick_cases(quick, cases) -> list:
    """Cases of a test, of which CI alone has the time for all."""
    return [case if case in quick else
            pytest.param(*case if isinstance(case, tuple) else (case, ),
                         marks=pytest.mark.slow) for case in cases]


def as_params(cases, slow=()) -> list:
    """Cases of a test; those that need compiled ops are skipped without.

    Args:
        cases: names of families, or tuples that begin with one.
        slow: those of them that take long.
    """
    ops = pytest.mark.skipif(is_installed(),
                             reason='needs compiled ops of mmcv')
    found = []
    for case in cases:
        values = case if isinstance(case, tuple) else (case, )
        found.append(pytest.param(*values, marks=[
            *[ops] * FAMILY[values[0]].compiled,
            *[pytest.mark.slow] * (case in slow)]))
    return found
