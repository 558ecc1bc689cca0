"""Small detectors and batches for the tests; nothing here is random."""
import copy
import os

import numpy as np
import pytest
import torch
from families import FAMILY, as_params
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmengine.config import ConfigDict
from mmengine.logging import MessageHub
from mmengine.structures import InstanceData

from crosskd.apps.recipes.choosing import recipe_of
from crosskd.heads import HeadRecord
from crosskd.pairs import DensePair, DensePass
from crosskd.taps import Needs

ALL = tuple(FAMILY)
KINDS = tuple(name for name in ALL if FAMILY[name].paper)
#: heads of the same test as those, and those that need mmcv's compiled ops
MORE_KINDS = tuple(name for name in ALL if not (
    FAMILY[name].paper or FAMILY[name].compiled))
COMPILED_KINDS = tuple(name for name in ALL if FAMILY[name].compiled)
NUM_CLASSES = 3
CHANNELS = 8
#: every family; those that need compiled ops are skipped where there are none
FAMILIES = as_params(ALL)
PREPROCESSOR = dict(
    type='DetDataPreprocessor',
    mean=[123.675, 116.28, 103.53],
    std=[58.395, 57.12, 57.375],
    bgr_to_rgb=True,
    pad_size_divisor=32)
QFL, GIOU, BCE = (recipe_of('ATSS')[key] for key in (
    'loss_cls_kd', 'loss_reg_kd', 'loss_center_kd'))
KL = recipe_of('GFL')['loss_reg_kd']
SDD = dict(type='SDDLoss', base='bernoulli', temperature=1.0)


class Writes:
    """Writes a file when it is unpickled."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return os.system, (f'touch {self.path}', )


def has_float16_convolutions() -> bool:
    try:
        torch.nn.Conv2d(1, 1, 1).half()(torch.ones(1, 1, 1, 1).half())
    except RuntimeError:
        return False
    return True


needs_float16 = pytest.mark.skipif(
    not has_float16_convolutions(),
    reason='this torch convolves no float16 on CPUs (2.1 does not)')


def kd_cfg(kind: str, **kwargs) -> dict:
    cfg = {**FAMILY[kind].kd_cfg, **kwargs}
    return copy.deepcopy({k: v for k, v in cfg.items() if v is not None})


def head_cfg(kind: str, num_classes: int = NUM_CLASSES, **kwargs) -> dict:
    return copy.deepcopy({
        'num_classes': num_classes, 'in_channels': CHANNELS,
        'stacked_convs': 2, 'feat_channels': CHANNELS, **FAMILY[kind].head,
        **kwargs})


def plain_cfg(kind: str, width: int = 8, **head) -> dict:
    """A plain mmdet detector of a hundred thousand parameters or fewer."""
    row = FAMILY[kind]
    return copy.deepcopy(
        dict(
            type=row.detector, data_preprocessor=PREPROCESSOR,
            backbone=dict(
                type='ResNet', depth=18, base_channels=width, num_stages=4,
                out_indices=(0, 1, 2, 3), norm_eval=False,
                norm_cfg=dict(type='BN', requires_grad=True)),
            neck=dict(
                type='FPN', in_channels=[width * 2**i for i in range(4)],
                out_channels=CHANNELS, start_level=1, num_outs=3),
            bbox_head=head_cfg(kind, **head), train_cfg=row.train_cfg,
            test_cfg=dict(
                nms_pre=100, min_bbox_size=0, score_thr=0.0,
                nms=dict(type='nms', iou_threshold=0.6), max_per_img=20)))


def distiller_cfg(kind: str, teacher: str = 'random',
                  teacher_kind: str | None = None,
                  teacher_width: int = 16, **kd) -> dict:
    """The CrossKD detector around ``plain_cfg(kind)``."""
    cfg = plain_cfg(kind)
    cfg.update(
        type=FAMILY[kind].distiller, teacher_ckpt=teacher,
        teacher_config=dict(
            model=plain_cfg(teacher_kind or kind, teacher_width)),
        kd_cfg=kd_cfg(kind, **kd))
    return cfg


def wide_teacher(cfg: dict, times: int = 2, **head) -> dict:
    """The same student, whose teacher has wider features."""
    cfg = copy.deepcopy(cfg)
    teacher = cfg['teacher_config']['model']
    wide = times * CHANNELS
    teacher['neck']['out_channels'] = wide
    teacher['bbox_head'].update(in_channels=wide, feat_channels=wide, **head)
    return cfg


def sdd_cfg(kind: str, teacher_width: int = 16, loss: dict | None = None,
            **kd) -> dict:
    """The SDD detector around ``plain_cfg(kind)``."""
    cfg = distiller_cfg(kind, teacher_width=teacher_width)
    cfg.update(
        type='SDDSingleStageDetector',
        kd_cfg=dict(loss_sdd=dict(SDD, **(loss or {})), **kd))
    return copy.deepcopy(cfg)


#: every method, as configs of a kind of head
METHODS = {
    'CrossKD': distiller_cfg,
    'CrossKD and PKD':
    lambda kind: distiller_cfg(kind, loss_feat_kd=dict(type='PKDLoss')),
    'plain imitation': lambda kind: distiller_cfg(
        kind, prediction='student', reused_teacher_head_idx=None),
    'SDD, map': lambda kind: sdd_cfg(kind, sdd_regions=dict(map=dict())),
    'SDD, map and box': sdd_cfg,
}


def build(cfg: dict, seed: int = 0, joins: bool = True) -> torch.nn.Module:
    """Build a model whose weights, the teacher's too, come from ``seed``.

    ``joins``: a distiller's teacher, too, as when training begins.
    """
    torch.manual_seed(seed)
    # which TOOD asks for, and no Runner says here
    MessageHub.get_current_instance().runtime_info.setdefault('epoch', 0)
    model = MODELS.build(ConfigDict(copy.deepcopy(cfg)))
    if joins and hasattr(model, 'join_teacher'):
        model.join_teacher()
    return model


def seeded(function, *args, **kwargs):
    """What it returns, its random numbers being of one seed."""
    torch.manual_seed(0)
    np.random.seed(0)
    return function(*args, **kwargs)


def batch(boxes=(2, 3), size=(64, 96), seed: int = 0,
          num_classes: int = NUM_CLASSES):
    """Normalised images (N, 3, H, W) and samples with that many boxes."""
    rng = torch.Generator().manual_seed(seed)
    height, width = size
    inputs = torch.randn(len(boxes), 3, height, width, generator=rng)
    samples = []
    for index, count in enumerate(boxes):
        low = torch.rand(count, 2, generator=rng) * torch.tensor(
            [width * 0.5, height * 0.5])
        side = 10 + torch.rand(count, 2, generator=rng) * 30
        sample = DetDataSample()
        sample.gt_instances = InstanceData(
            bboxes=torch.cat([low, low + side], 1),
            labels=torch.randint(num_classes, (count, ), generator=rng))
        sample.set_metainfo(
            dict(
                img_shape=size, pad_shape=size, batch_input_shape=size,
                ori_shape=size, scale_factor=(1.0, 1.0), img_id=index))
        samples.append(sample)
    return inputs, samples


def every_output(model, cross_head=False):
    """Needs of all that the teacher's head returns."""
    return Needs(frozenset(model.teacher.head.outputs), cross_head)


def paired_maps(head, student: list, teacher: list, samples: list):
    """Class logits of two detectors with that head, as regions take them."""
    pair = DensePair()
    pair.levels = [(i, i) for i in range(len(head.strides))]
    s, t = (HeadRecord(adapter=head,
                       outputs=dict.fromkeys(head.outputs, maps))
            for maps in (student, teacher))
    return DensePass(pair, s, t, samples)


def total(losses: dict) -> dict:
    """Every loss as one number: per-level lists summed."""
    return {
        key: float(sum(value)) if isinstance(value, list) else float(value)
        for key, value in losses.items()
    }


def runs_of(module):
    """Counts runs, without a hook: a head with hooks runs all of itself."""
    runs, forward = [], module.forward

    def counting(*args):
        runs.append(1)
        return forward(*args)

    module.forward = counting
    return runs


def lively(model, spread: float = 0.3):
    """That module, whose batch norms do something, each its own."""
    rng = torch.Generator().manual_seed(0)
    for m in model.modules():
        if isinstance(m, torch.nn.BatchNorm2d):
            for values in (m.weight.data, m.running_var):
                values.copy_(0.5 + torch.rand(len(values), generator=rng))
            for values in (m.bias.data, m.running_mean):
                values.copy_(spread * torch.randn(len(values), generator=rng))
    return model
