"""The figures of docs/sdd.md, on the demo's images."""
import argparse

from crosskd.demo.study import Variant, format_rows, run_study

ALONE = 'demo/gfl_r18w8_shapes.py'
CROSSKD = 'demo/crosskd_gfl_r18w8_r18w24_shapes.py'
SDD = 'sdd/sdd_gfl_r18w8_r18w24_shapes.py'
BOTH = 'crosskd+sdd/crosskd+sdd_gfl_r18w8_r18w24_shapes.py'
KD = 'model.kd_cfg.'
PLAIN = {f'{KD}prediction': 'student'}


def region(kind, **changes):
    """Options that change one kind of region."""
    return {f'{KD}sdd_regions.{kind}.{k}': v for k, v in changes.items()}


def only_map(**changes):
    return {f'{KD}sdd_regions.box': None, **region('map', **changes)}


def only_box(**changes):
    return {f'{KD}sdd_regions.map': None,
            **region('box', **{'loss_weight': 3.0, **changes})}


def confident(changes):
    return {**changes, f'{KD}sdd_weighting': 'confidence'}


FINAL = [
    Variant('student alone', ALONE),
    Variant('plain imitation', CROSSKD, PLAIN),
    Variant('SDD: map', SDD, only_map()),
    Variant('SDD: box', SDD, only_box()),
    Variant('SDD: map and box', SDD),
    Variant('plain imitation + SDD: map', BOTH, PLAIN),
    Variant('CrossKD', CROSSKD),
    Variant('CrossKD + SDD: map', BOTH),
]
SCREENED = {
    'regression alone (no classification imitated)':
    (CROSSKD, {**PLAIN, f'{KD}loss_cls_kd.loss_weight': 0.0}),
    'plain imitation, cls weight 2':
    (CROSSKD, {**PLAIN, f'{KD}loss_cls_kd.loss_weight': 2.0}),
    'CrossKD, cls weight 2':
    (CROSSKD, {f'{KD}loss_cls_kd.loss_weight': 2.0}),
    'map, scales 1': (SDD, only_map(scales=[1])),
    'map, scales 1, 2': (SDD, only_map(scales=[1, 2])),
    'map, scales 1, 2, 4': (SDD, only_map(scales=[1, 2, 4])),
    'map, scales 1, 2, 4, 8': (SDD, only_map(scales=[1, 2, 4, 8])),
    'map, scales 4, 8, 16': (SDD, only_map(scales=[4, 8, 16])),
    'map, no complementary weight':
    (SDD, only_map(complementary_weight=1.0)),
    'map, by confidence, weight 4': (SDD, confident(only_map(loss_weight=4.0))),
    'map, weight 5': (SDD, only_map(loss_weight=5.0)),
    'map, weight 30': (SDD, only_map(loss_weight=30.0)),
    'map, T = 0.5': (SDD, only_map(temperature=0.5)),
    'map, T = 2': (SDD, only_map(temperature=2.0)),
    'map, Bernoulli, weight 3':
    (SDD, only_map(base='bernoulli', loss_weight=3.0)),
    'map, kd, weight 5': (SDD, only_map(base='kd', loss_weight=5.0)),
    'map, dkd, weight 0.7': (SDD, only_map(base='dkd', loss_weight=0.7)),
    'map, nkd, weight 3': (SDD, only_map(base='nkd', loss_weight=3.0)),
    'box, scales 1': (SDD, only_box(scales=[1])),
    'box, scales 1, 2': (SDD, only_box(scales=[1, 2])),
    'box, no complementary weight':
    (SDD, only_box(complementary_weight=1.0)),
    'box, complementary without labels': (SDD, only_box(label_free=True)),
    'box, by confidence': (SDD, confident(only_box())),
    'box, weight 1': (SDD, only_box(loss_weight=1.0)),
    'box, weight 10': (SDD, only_box(loss_weight=10.0)),
    'box, T = 0.5': (SDD, only_box(temperature=0.5)),
    'box, T = 2': (SDD, only_box(temperature=2.0)),
    'box, QFL, weight 6': (SDD, only_box(base='qfl', loss_weight=6.0)),
    'box, kd': (SDD, only_box(base='kd')),
    'box, dkd, weight 0.5': (SDD, only_box(base='dkd', loss_weight=0.5)),
    'box, nkd, weight 1': (SDD, only_box(base='nkd', loss_weight=1.0)),
    'CrossKD + SDD: map, weight 15': (BOTH, region('map', loss_weight=15.0)),
    'CrossKD + SDD: box, Bernoulli, weight 1':
    (BOTH, {**region('box', base='bernoulli', loss_weight=1.0),
            f'{KD}sdd_regions.map': None}),
}
SCREEN = FINAL + [Variant(name, *rest) for name, rest in SCREENED.items()]

if __name__ == '__main__':
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        'part', choices=['screen', 'final'],
        help='screen: every setting, one seed, 8 epochs; '
        'final: what is compared, three seeds, 12 epochs')
    parser.add_argument(
        '--dir', default='.',
        help='folder that gets data/ and work_dirs/study/ (default: here)')
    parser.add_argument('--seeds', type=int, nargs='+', help='other seeds')
    args = parser.parse_args()
    if args.part == 'screen':
        variants, seeds, epochs = SCREEN, [0], 8
    else:
        variants, seeds, epochs = FINAL, [0, 1, 2], 12
    print(format_rows(run_study(args.dir, variants, args.seeds or seeds,
                                epochs, teacher_epochs=16)))
