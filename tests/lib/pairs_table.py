"""Which teacher teaches which student: tests/pairs/pairs.md, from real steps.

``python tests/lib/pairs_table.py`` writes the page;
``tests/pairs/test_pairs.py`` takes the steps again and compares.
"""
import copy
import re
from functools import cache
from pathlib import Path

from families import FAMILY
from helpers import (
    CHANNELS,
    GIOU,
    QFL,
    SDD,
    batch,
    build,
    kd_cfg,
    plain_cfg,
)
from mmdet.registry import MODELS
from mmdet.utils import register_all_modules
from mmengine.model import BaseModule
from torch import nn

from crosskd.compat.mmcv_ext import is_installed
from crosskd.engine.trial import try_pair
from crosskd.pairs import DensePair
from crosskd.taps import FEATURES

PAGE = Path(__file__).parents[1] / 'pairs' / 'pairs.md'
OURS = ('person', 'car', 'dog')
THEIRS = ('cat', 'person', 'bus', 'car', 'tree')
#: CrossKD with what suits the teacher's head, see ``settings``
METHODS = {
    'CrossKD': {},
    'Plain imitation': dict(loss_cls_kd=QFL, loss_reg_kd=GIOU,
                            prediction='student'),
    'SDD': dict(loss_sdd=SDD, prediction='student'),
    'PKD': dict(loss_feat_kd=dict(type='PKDLoss', loss_weight=1.0))}
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
#: the families that can run here
RUNNING = tuple(kind for kind, row in FAMILY.items()
                if not (row.compiled and is_installed()))
#: those that show what methods make of differences that no head runs across
SOME = ('retina', 'gfl', 'fcos', 'rtmdet', 'yolox')
#: the branches that a method's losses teach; those that its ``cls`` is made of
TAUGHT = {'CrossKD': ('cls', 'reg'), 'Plain imitation': ('cls', 'reg'),
          'SDD': ('cls', ), 'PKD': ()}


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
    return dict(plain_cfg(kind, width, **dict(dict(stacked_convs=2), **head)),
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
        cfg['neck']['start_level'] = 2
        head = cfg['bbox_head']
        for strided in (head, head.get('anchor_generator', {})):
            if 'strides' in strided:
                strided['strides'] = [16, 32, 64]
    return cfg


def settings(method, difference, student, teacher):
    """The ``kd_cfg`` of a pair."""
    if method == 'CrossKD':
        split = 0 if student == 'tood' else 1, (
            0 if teacher == 'tood' else 1 + (difference == 'depth'))
        cfg = kd_cfg(teacher, reused_teacher_head_idx=split)
    else:
        cfg = copy.deepcopy(METHODS[method])
    cfg['teacher_classes'] = THEIRS if difference == 'classes' else OURS
    return cfg


def boxes_of_all_sizes():
    """A batch with positives on all levels and of all classes."""
    inputs, samples = batch((6, 6))
    for sample in samples:
        sample.gt_instances.bboxes[::2, :2] = 0
    return inputs, samples


@cache
def plain_keys(kind):
    return list(build(small(kind, 8)).state_dict())


def outcome(method, difference, student, teacher):
    """``'works'`` after a step of training, or why it is refused."""
    kd = settings(method, difference, student, teacher)
    model = build(dict(
        small(student, 8), type='DistilledSingleStageDetector',
        teacher_config=dict(model=detector(teacher, difference)),
        teacher_ckpt='random', kd_cfg=kd), joins=False)
    try:
        model.join_teacher(OURS)
        try_pair(model)
    except (TypeError, ValueError) as e:
        return str(e)
    losses = model.loss(*boxes_of_all_sizes())
    total, log = model.parse_losses(losses)
    assert total.isfinite()
    distilled = {k: v for k, v in losses.items() if 'kd' in k or 'sdd' in k}
    assert distilled and all(log[k] > 0 for k in distilled), log
    assert {k for k in kd if k.endswith('_kd')} <= set(distilled)
    model.parse_losses(distilled)[0].backward()
    for name, parameter in learning(model, method, student).items():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().max() > 0, name
    wide = method in ('CrossKD', 'PKD')
    assert bool(model.pair.adapters) == (difference == 'width' and wide)
    assert list(model.state_dict()) == plain_keys(student)
    return WORKS


def learning(model, method, student):
    """The student's parameters that distillation must teach, by name."""
    found = {f'pair.{name}': parameter
             for name, parameter in model.pair.named_parameters()
             if name.endswith('weight')}
    pair = model.pair
    matched = (pair.levels if isinstance(pair, DensePair)
               else pair.matched[FEATURES])
    level = matched[-1][0]
    found['neck'] = model.neck.fpn_convs[level].conv.weight
    adapter = model.head_adapter
    for branch in TAUGHT[method]:
        layers = adapter.layers(branch, level)
        if not FAMILY[student].split and method != 'CrossKD':
            layers = model.bbox_head.inter_convs  # which it is split before
        if layers:
            found[branch] = layers[0].conv.weight
    return found


def families(method, difference):
    """Those of a table."""
    every = difference == 'equal' or method == 'CrossKD'
    return tuple(FAMILY) if every else SOME


def cells(method, difference):
    """The outcomes of a table that can be had here, by (student, teacher)."""
    kinds = [k for k in families(method, difference) if k in RUNNING]
    return {(student, teacher): outcome(method, difference, student, teacher)
            for student in kinds for teacher in kinds}


INTRODUCTION = '''# Which teacher teaches which student

Made by `python tests/lib/pairs_table.py` from real steps of training with
small detectors, and compared with new ones by `tests/pairs/test_pairs.py`; not
edited by hand. Making it needs the compiled ops of mmcv. Where there are none,
the test does not take the rows and columns of VFNet and TOOD.

*Works* means: the pair was built, tried, and took a step in which the
distillation losses were finite and above zero, and of these losses alone the
student's neck, the layers of its head that they teach, and channel adapters
had a gradient. Otherwise the message is given with which it is refused when
training begins.

What bridges the two detectors, and the keys of `kd_cfg` for it:
[Config keys](../../docs/configuration.md). CrossKD was run with GIoU loss, for
GFL teachers with the KL divergence of bins; for ATSS, PAA and DDOD teachers
with `loss_center_kd`, for YOLOX teachers with `loss_obj_kd`; and split after
one of two layers, TOOD before its layers (`reused_teacher_head_idx=(0, 1)` for
TOOD students, `(1, 0)` for TOOD teachers). SDD and plain imitation compare the
student's own predictions with the teacher's, so both must predict as many
boxes a location: RetinaNet four here, the others one. What these and PKD make
of differences is shown with five families.
'''


def page(every):
    """The page, from the cells of each (method, difference)."""
    lines = [INTRODUCTION]
    for method in METHODS:
        lines += [f'## {method}', '']
        notes = {}
        for difference, said in DIFFERENCES.items():
            lines += [f'### {method}: {difference}', '', f'{said}.', '',
                      *table(every[method, difference], notes), '']
        for text, number in notes.items():
            lines += [f'({number}) `{text}`', '']
    return '\n'.join(lines).rstrip() + '\n'


def table(found, notes):
    """The lines of a table; reasons are collected in ``notes``."""
    kinds = list(dict.fromkeys(student for student, _ in found))
    lines = ['| student \\ teacher | '
             + ' | '.join(FAMILY[kind].detector for kind in kinds) + ' |',
             '|---' * (len(kinds) + 1) + '|']
    for student in kinds:
        row = []
        for teacher in kinds:
            text = found[student, teacher]
            if text != WORKS:
                number = notes.setdefault(text, len(notes) + 1)
                text = f'refused ({number})'
            row.append(text)
        lines.append('| ' + ' | '.join(
            [FAMILY[student].detector, *row]) + ' |')
    return lines


def read(text):
    """The cells of each (method, difference) of such a page."""
    kinds = {row.detector: kind for kind, row in FAMILY.items()}
    every = {}
    for method in METHODS:
        part = text.split(f'\n## {method}\n')[1].split('\n## ')[0]
        notes = {f'refused ({number})': said for number, said in re.findall(
            r'^\((\d+)\) `(.*)`$', part, re.M)}
        for difference in DIFFERENCES:
            lines = part.split(f'### {method}: {difference}\n')[1].split(
                '\n#')[0].splitlines()
            head, *rows = [line.strip('| ').split(' | ') for line in lines
                           if line.startswith('| ')]
            every[method, difference] = {
                (kinds[row[0]], kinds[teacher]): notes.get(cell, cell)
                for row in rows for teacher, cell in zip(head[1:], row[1:])}
    return every


if __name__ == '__main__':
    if is_installed():
        raise SystemExit(f'{PAGE} is made with the compiled ops of mmcv')
    register_all_modules()
    PAGE.write_text(page({
        (method, difference): cells(method, difference)
        for method in METHODS for difference in DIFFERENCES}))
