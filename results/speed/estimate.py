"""From FLOPs and bytes: what a distilled step costs at least on GPUs.

``python results/speed/estimate.py`` counts the FLOPs of student, teacher and
cross-head predictions at 800×1333, and of every method on one pair, writes
``results/speed/estimate.json`` and prints the tables of docs/costs.md and
docs/methods.md.  It says nothing of a GPU's real speed.
"""
import json
from pathlib import Path

import torch
from mmengine.registry import init_default_scope
from torch.utils.flop_counter import FlopCounterMode

from crosskd.apps.benchmark.detectors import (
    build_distilled,
    build_plain,
    build_teacher,
    random_batch,
)
from crosskd.apps.benchmark.setting import Setting, read
from crosskd.apps.benchmark.silence import silence

CONFIGS = Path(__file__).parent.parent.parent / 'configs/crosskd'
PAIRS = {
    'GFL R101 → R50': 'crosskd_r50_gflv1_r101-2x-ms_fpn_1x_coco.py',
    'GFL R50 → R18': 'crosskd_r18_gflv1_r50_fpn_1x_coco.py',
    'RetinaNet R101 → R50': 'crosskd_r50_retinanet_r101_fpn_2x_coco.py',
    'ATSS R101 → R50': 'crosskd_r50_atss_r101_fpn_1x_coco.py',
}
KD = 'model.kd_cfg'
OWN = {f'{KD}.prediction': 'student'}
FEATURES_ALONE = {
    'model.type': 'DistilledDetector', 'model.detector': 'GFL', **{
        f'{KD}.{key}': None for key in (
            'loss_cls_kd', 'loss_reg_kd', 'reused_teacher_head_idx')}}
SDD = {**FEATURES_ALONE, **OWN, f'{KD}.loss_sdd': dict(type='SDDLoss')}


def by(kind: str) -> dict[str, object]:
    return {**FEATURES_ALONE, f'{KD}.loss_feat_kd': dict(type=kind)}


#: of the first pair, as changes of its config
METHODS = {
    'CrossKD': {},
    'CrossKD + PKD': {f'{KD}.loss_feat_kd': dict(type='PKDLoss')},
    'imitation': OWN, 'SDD': SDD, 'PKD': by('PKDLoss'),
    'CWD': by('ChannelWiseDivergence'), 'MGD': by('MGDLoss'),
    'FGD': by('FGDLoss'), 'scores': by('ScoreWeightedL2Loss'),
    'cosine': by('CosineFeatureLoss')}
SIZE, SMALL = (800, 1333), (64, 64)
IMAGES, EPOCHS, BATCH = 117_266, 12, 2  # of COCO, with boxes; a GPU
GPUS = (8, 64)


def flops(function) -> int:
    """Of the multiplications and additions of matrices and convolutions."""
    with FlopCounterMode(display=False) as counter:
        function()
    return counter.get_total_flops()


def count(config: str,
          changes: dict[str, object] | None = None) -> dict[str, float]:
    """FLOPs of one image, forward and backward, and bytes of gradients."""
    with silence():
        cfg = read(Setting(str(CONFIGS / config), changes or {}))
        plain, teacher = build_plain(cfg), build_teacher(cfg)
        inputs, samples = random_batch(plain, 1, SIZE)
        with torch.no_grad():
            teachers = flops(lambda: teacher.bbox_head(
                teacher.extract_feat(inputs)))
        forward = flops(lambda: plain.bbox_head(plain.extract_feat(inputs)))
        student = flops(lambda: step(plain, inputs, samples))
        gradients = 4 * sum(p.numel() for p in plain.parameters()
                            if p.requires_grad)
        model = build_distilled(cfg)
        # what happens once, such as measuring levels, is no part of a step
        step(model, *random_batch(model, 1, SMALL))
        distilled = flops(lambda: step(model, inputs, samples))
    return dict(teacher=teachers, student_forward=forward, student=student,
                distilled=distilled, gradients=gradients,
                added=distilled - student - teachers)


def step(model, inputs, samples) -> None:
    losses = model(inputs, samples, mode='loss')
    loss, _ = model.parse_losses(losses)
    loss.backward()


def main() -> None:
    init_default_scope('mmdet')
    found = {name: count(config) for name, config in PAIRS.items()}
    print('| GFLOPs of an image | student, forward | its step | teacher, '
          'forward | cross head, with its backward | distilled / student | '
          'distilled / (student + teacher) | teacher at half the price: '
          'distilled / student |\n' + '|---' * 8 + '|')
    for name, one in found.items():
        student, teacher, distilled = (
            one[k] for k in ('student', 'teacher', 'distilled'))
        one['ratio'] = distilled / student
        one['ratio_half'] = (distilled - teacher / 2) / student
        print(f'| {name} | {one["student_forward"] / 1e9:.0f} | '
              f'{student / 1e9:.0f} | {teacher / 1e9:.0f} | '
              f'{one["added"] / 1e9:.0f} | {one["ratio"]:.2f} | '
              f'{distilled / (student + teacher):.3f} | '
              f'{one["ratio_half"]:.2f} |')
    print('| method | distilled / student |\n|---|---|')
    first = next(iter(PAIRS.values()))
    for name, changes in METHODS.items():
        one = found[f'first pair, {name}'] = count(first, changes)
        one['ratio'] = one['distilled'] / one['student']
        print(f'| {name} | {one["ratio"]:.2f} |', flush=True)
    for gpus in GPUS:
        steps = -(-IMAGES // (gpus * BATCH)) * EPOCHS
        print(f'{gpus} GPUs: {steps} steps')
    Path(__file__).with_suffix('.json').write_text(
        json.dumps(found, indent=1) + '\n')


if __name__ == '__main__':
    main()
