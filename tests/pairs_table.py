"""Which teacher teaches which student: ``docs/pairs.md``, from real steps.

``python tests/pairs_table.py`` writes the page; ``tests/test_pairs.py`` takes
the steps again and compares.
"""
import copy
from pathlib import Path

import torch
from mmdet.registry import MODELS
from mmdet.utils import register_all_modules
from mmengine.model import BaseModule
from torch import nn

from crosskd.engine.trial import try_pair
from helpers import (
    CHANNELS,
    GIOU,
    KINDS,
    KL,
    PLAIN,
    QFL,
    SDD,
    batch,
    build,
    plain_cfg,
)

PAGE = Path(__file__).parent.parent / 'docs' / 'pairs.md'
OURS = ('person', 'car', 'dog')
THEIRS = ('cat', 'person', 'bus', 'car', 'tree')
PKD = dict(type='PKDLoss', loss_weight=1.0)
METHODS = {
    'CrossKD': dict(loss_cls_kd=QFL, loss_reg_kd=GIOU,
                    prediction='cross_head', reused_teacher_head_idx=1),
    'Plain imitation': dict(loss_cls_kd=QFL, loss_reg_kd=GIOU,
                            prediction='student'),
    'SDD': dict(loss_sdd=SDD, prediction='student'),
    'PKD': dict(loss_feat_kd=PKD)}
DIFFERENCES = {
    'equal': 'Widths, classes, levels and depth are equal',
    'width': 'The teacher is twice as wide (FPN and head)',
    'classes': 'The teacher knows two of three classes of the student, and '
               'three more',
    'pyramid': 'The teacher has the strides 16, 32, 64 and the student 8, 16, '
               '32',
    'depth': "The teacher's head has one layer more, left out too "
             '(`reused_teacher_head_idx=(1, 2)`)'}
WORKS = 'works'
LEARN = ('neck', 'bbox_head.cls_convs.0', 'bbox_head.reg_convs.0', 'pair')


@MODELS.register_module()
class FourConvs(BaseModule):
    """A backbone of four layers, of strides 4, 8, 16 and 32."""

    def __init__(self, width):
        super().__init__()
        self.layers = nn.ModuleList(
            nn.Conv2d(i, o, 3, stride, 1) for i, o, stride in (
                (3, width, 4), (width, 2 * width, 2),
                (2 * width, 4 * width, 2), (4 * width, 8 * width, 2)))

    def forward(self, x):
        outs = []
        for layer in self.layers:
            outs.append(x := layer(x).relu())
        return outs


def small(kind, width, **head):
    return dict(plain_cfg(kind, width, **head),
                backbone=dict(type='FourConvs', width=width))


def detector(kind, difference):
    """A teacher of that family."""
    wide = CHANNELS * (1 + (difference == 'width'))
    cfg = small(
        kind, 16, in_channels=wide, feat_channels=wide,
        num_classes=len(THEIRS if difference == 'classes' else OURS),
        stacked_convs=2 + (difference == 'depth'))
    cfg['neck']['out_channels'] = wide
    if difference == 'pyramid':
        strides = [16, 32, 64]
        cfg['neck']['start_level'] = 2
        head = cfg['bbox_head']
        (head if kind == 'fcos' else head['anchor_generator'])[
            'strides'] = strides
    return cfg


def outcome(method, difference, student, teacher):
    """``'works'`` after a step of training, or why it is refused."""
    kd_cfg = copy.deepcopy(METHODS[method])
    if method == 'CrossKD' and teacher == 'gfl':
        kd_cfg['loss_reg_kd'] = KL
    if method == 'CrossKD' and difference == 'depth':
        kd_cfg['reused_teacher_head_idx'] = (1, 2)
    kd_cfg['teacher_classes'] = THEIRS if difference == 'classes' else OURS
    model = build(dict(
        small(student, 8), type='DistilledSingleStageDetector',
        teacher_config=dict(model=detector(teacher, difference)),
        teacher_ckpt='random', kd_cfg=kd_cfg), joins=False)
    try:
        model.join_teacher(OURS)
        try_pair(model)
    except (TypeError, ValueError) as e:
        return str(e)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    before = [p.clone() for p in model.parameters()]
    losses = model.loss(*batch())
    total, log = model.parse_losses(losses)
    total.backward()
    optimizer.step()
    distilled = [v for k, v in log.items() if 'kd' in k or 'sdd' in k]
    assert distilled and all(v > 0 for v in distilled), log
    assert total.isfinite()
    for (name, parameter), old in zip(model.named_parameters(), before):
        if name.startswith(LEARN) and name.endswith('conv.weight'):
            assert not torch.equal(parameter, old), name
    wide = 'features' in model.distillers.needs or method == 'CrossKD'
    assert bool(model.pair.adapters) == (difference == 'width' and wide)
    assert list(model.state_dict()) == list(
        build(small(student, 8)).state_dict())
    return WORKS


def row(method, difference, student, notes):
    """A row of the table; reasons are collected in ``notes``."""
    cells = []
    for teacher in KINDS:
        found = outcome(method, difference, student, teacher)
        if found != WORKS:
            notes.setdefault(found, len(notes) + 1)
            found = f'refused ({notes[found]})'
        cells.append(found)
    return f'| {PLAIN[student]} | ' + ' | '.join(cells) + ' |'


def table(method, difference):
    """The lines of one table, with its reasons."""
    notes = {}
    rows = [row(method, difference, student, notes) for student in KINDS]
    return [
        f'### {method}: {difference}', '', f'{DIFFERENCES[difference]}.', '',
        '| student \\ teacher | ' + ' | '.join(PLAIN.values()) + ' |',
        '|---' * (len(KINDS) + 1) + '|', *rows, '',
        *(line for text, number in notes.items()
          for line in (f'({number}) `{text}`', ''))]


INTRODUCTION = '''# Which teacher teaches which student

Made by `python tests/pairs_table.py` from real steps of training with small
detectors, and compared with new ones by `tests/test_pairs.py`; not edited by
hand. *Works* means: the pair was built, tried, and took a step in which the
distillation losses were finite and above zero, and the student's neck, head
and channel adapters changed. Otherwise the message is given with which it is
refused when training begins.

What bridges the two detectors, and the keys of `kd_cfg` for it:
[configuration.md](configuration.md). CrossKD was run with GIoU loss, with the
KL divergence of bins for GFL teachers, and split after one of two layers. SDD
and plain imitation compare the student's own predictions with the teacher's,
so both must predict as many boxes a location: RetinaNet four here, the others
one.
'''


def page():
    lines = [INTRODUCTION]
    for method in METHODS:
        lines += [f'## {method}', '']
        for difference in DIFFERENCES:
            lines += table(method, difference)
    return '\n'.join(lines).rstrip() + '\n'


if __name__ == '__main__':
    register_all_modules()
    PAGE.write_text(page())
