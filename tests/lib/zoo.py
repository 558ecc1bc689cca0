"""The configs that mmdet ships, each as a small student.

``outcome`` takes a step of training with a row of ``zoo_rows.py``.
``docs/detectors.md`` is the table of these steps, see ``zoo_table.py``.
"""
import re
from functools import cache
from inspect import signature
from pathlib import Path
from typing import Any

import mmdet
import numpy as np
import torch
from helpers import build, seeded
from mmcv.cnn import ConvAWS2d
from mmdet.models.backbones.trident_resnet import TridentConv
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmdet.structures.mask import BitmapMasks
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.logging import MessageHub
from mmengine.optim import OptimWrapper
from mmengine.structures import InstanceData, PixelData
from torch import nn
from unknown_heads import PKD, distilled
from zoo_rows import LIKE_IT, RETINA_CONFIG, ROWS, Row

CONFIGS = Path(mmdet.__file__).parent / '.mim/configs'
WORKS = 'works'
NEEDS_PACKAGE = 'needs the package `{}`, which is not installed here'

# -- small models ------------------------------------------------------------

#: the most queries, proposals, layers, boxes of a sampler, and classes
FEWER = dict(num_queries=20, num_proposals=20, num_dn_queries=6, num_layers=3,
             num_csp_blocks=1, nms_pre=100, max_per_img=20, num=32,
             num_classes=80)
#: numbers of channels, besides all keys with "channel" in them
WIDTHS = ('embed_dims', 'num_feats', 'num_groups', 'widen_factor',
          'rfp_inplanes', 'num_deconv_filters')
#: what is to be downloaded, and batches of the size of the paper's
LEFT_OUT = ('init_cfg', 'pretrained', 'batch_augments', 'teacher_ckpt')


def small(row: Row) -> dict:
    """The model of a row: the same layers, of few channels, as plain dicts.

    All numbers of channels are divided by the same number, so that they fit
    as before.
    """
    return _merged(_shrunk(read(row.config).model.to_dict(), row), row.change)


@cache
def read(config: str) -> Config:
    return Config.fromfile(str(CONFIGS / f'{config}.py'))


def _shrunk(value: Any, row: Row, key: str = '') -> Any:
    if isinstance(value, dict):
        found = {k: _shrunk(v, row, k) for k, v in value.items()
                 if k not in LEFT_OUT}
        if _takes(found.get('type'), 'base_channels'):
            found.setdefault('base_channels', 64 // row.narrower)
        return found
    if isinstance(value, (list, tuple)):
        one = [_shrunk(x, row, key) for x in value]
        # 18, 36, 72 and 144 channels: all of them, or none
        if any(_is_width(x) and x == y for x, y in zip(value, one)):
            one = value
        return type(value)(one)
    if value in ('SyncBN', 'MMSyncBN'):
        return 'BN'
    if isinstance(value, int) and key in FEWER:
        return min(value, FEWER[key])
    if 'channel' in key or key in WIDTHS:
        if isinstance(value, float):
            return value / row.narrower
        if _is_width(value) and value % row.narrower == 0 and (
                value not in row.kept):
            return value // row.narrower
    return value


def _is_width(value: Any) -> bool:
    return type(value) is int and value >= 16


def _takes(kind: Any, argument: str) -> bool:
    """Whether a registered class, or one that it is made of, takes it."""
    found = MODELS.get(kind) if isinstance(kind, str) else kind
    return isinstance(found, type) and any(
        argument in signature(base.__init__).parameters
        for base in found.__mro__)


def _merged(cfg: dict, change: dict) -> dict:
    return {**cfg, **{
        key: _merged(cfg[key], value) if isinstance(value, dict) else value
        for key, value in change.items()}}


# -- images ------------------------------------------------------------------

BOXES = ((10, 20, 70, 90), (40, 8, 60, 40), (0, 0, 120, 110))


def images(row: Row) -> dict:
    """Two images, and what the training pipeline of the row loads of them."""
    asked = annotations(row)
    side, shape = row.side, (row.side, ) * 2
    pixels = torch.Generator().manual_seed(0)
    items = []
    for index, count in enumerate((3, 2)):
        sample = DetDataSample(metainfo=dict(
            img_id=index, img_shape=shape, ori_shape=shape,
            scale_factor=(1.0, 1.0), border=(0, side, 0, side)))
        sample.gt_instances = _instances(BOXES[:count], asked, side)
        sample.ignored_instances = _instances((), asked, side)
        # of Fast R-CNN, which others propose boxes to
        sample.proposals = InstanceData(
            bboxes=sample.gt_instances.bboxes + 4)
        if 'with_seg' in asked:
            sample.gt_sem_seg = PixelData(sem_seg=torch.zeros(
                1, *shape, dtype=torch.long))
        items.append(dict(data_samples=sample, inputs=torch.randint(
            0, 255, (3, *shape), dtype=torch.uint8, generator=pixels)))
    return pseudo_collate(items)


def annotations(row: Row) -> set[str]:
    """What the training pipeline of a row loads, such as ``'with_mask'``."""
    return _loaded(read(row.config).train_dataloader)


def _loaded(value: Any) -> set[str]:
    if isinstance(value, dict):
        found = {key for key, on in value.items()
                 if key.startswith('with_') and on is True}
        if value.get('type') == 'LoadPanopticAnnotations':  # its defaults
            found |= {'with_mask', 'with_seg'}
        return found.union(*map(_loaded, value.values()))
    if isinstance(value, (list, tuple)):
        return set().union(*map(_loaded, value))
    return set()


def _instances(boxes: tuple, asked: set[str], side: int) -> InstanceData:
    found = InstanceData(
        bboxes=torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
        labels=torch.zeros(len(boxes), dtype=torch.long))
    if 'with_mask' in asked:
        masks = np.zeros((len(boxes), side, side), np.uint8)
        for mask, (x, y, right, low) in zip(masks, boxes):
            mask[y:low, x:right] = 1
        found.masks = BitmapMasks(masks, side, side)
    return found


# -- a step ------------------------------------------------------------------

#: what is found in an error, and the reason in words
REASONS = tuple((re.compile(pattern), said) for pattern, said in (
    (r"mmcv op '(\w+?)(?:_forward)?' needs", 'needs the compiled op `{}`'),
    (r'(\w+?)_forward_impl: implementation for device cpu not found',
     'the op `{}` runs on GPUs only'),
    (r"No module named '(\w+)'", NEEDS_PACKAGE),
    (r'(skimage) is not installed', NEEDS_PACKAGE),
    (r"import custom modules from {'imports': \['(\w+)", NEEDS_PACKAGE),
    ('already has a teacher of its own', 'has a teacher of its own')))


def outcome(row: Row, teacher: str) -> str:
    """``'works'`` after a step of training, or the reason why it does not."""
    try:
        return _step(row, teacher)
    except Exception as e:
        for pattern, said in REASONS:
            if found := pattern.search(str(e)):
                return said.format(*found.groups())
        raise  # nobody has explained it yet


def _step(row: Row, teacher: str) -> str:
    tap = row.taps.get(teacher)
    cfg = distilled(small(row), small(
        row if teacher == LIKE_IT else ROWS[RETINA_CONFIG]))
    if tap is not None:
        cfg['kd_cfg'] = dict(distillers=[dict(
            type='FeatureDistiller', student=tap, teacher=tap, **PKD)])
    MessageHub.get_current_instance().runtime_info.setdefault('iter', 0)
    model = build(cfg)
    model.init_weights()
    for detector in (model, model.teacher.detector):
        _finish(detector)
    plain = build(small(row))
    # the plain detector's keys, and no other
    plain.load_state_dict(model.state_dict())
    with torch.no_grad():
        expected = seeded(_logs, plain.train(), images(row))
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    logs = seeded(model.train().train_step, images(row),
                  OptimWrapper(optimizer))
    logs = {name: float(value) for name, value in logs.items()}
    assert logs.pop('loss_feat_kd') > 0
    assert logs.pop('loss') > expected.pop('loss')
    assert logs == expected
    assert 'with_mask' not in annotations(row) or any(
        'mask' in name for name in expected)
    assert all(x.isfinite().all() for x in model.parameters())
    return WORKS if tap is None else f'{WORKS}, at `{tap}`'


def _finish(detector: nn.Module) -> None:
    """Initialise weights that mmdet leaves to checkpoints."""
    for module in detector.modules():
        if isinstance(module, TridentConv):  # has whatever memory holds
            nn.init.kaiming_normal_(module.weight)
        elif isinstance(module, ConvAWS2d):  # has outputs as large as floats
            nn.init.constant_(module.weight_gamma, 0.1)


def _logs(detector: nn.Module, data: dict) -> dict[str, float]:
    """The losses of a plain detector, by name, and their sum."""
    losses = detector(**detector.data_preprocessor(data, True), mode='loss')
    return {name: float(value)
            for name, value in detector.parse_losses(losses)[1].items()}
