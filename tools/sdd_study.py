"""The figures of docs/sdd.md, on generated images of their own."""
import argparse

from crosskd.demo.study import Variant, format_rows, run_study

TEACHER = Variant('teacher', 'demo/gfl_r18w24_shapes.py')
ALONE = 'demo/gfl_r18w8_shapes.py'
CROSSKD = 'demo/crosskd_gfl_r18w8_r18w24_shapes.py'
SDD = 'sdd/sdd_gfl_r18w8_r18w24_shapes.py'
BOTH = 'crosskd_sdd/crosskd+sdd_gfl_r18w8_r18w24_shapes.py'
KD = 'model.kd_cfg.'
PLAIN = {f'{KD}prediction': 'student'}


def region(kind, **changes):
    """Options for one kind of region."""
    return {f'{KD}sdd_regions.{kind}.{k}': v for k, v in changes.items()}


def sdd_map(loss_weight=15.0, base='qfl', **changes):
    return region('map', loss_weight=loss_weight, base=base, **changes)


def box(loss_weight=3.0, base='bernoulli', scales=(1, 2, 4), **changes):
    return region('box', loss_weight=loss_weight, base=base,
                  scales=list(scales), **changes)


NO_MAP = {f'{KD}sdd_regions.map': None}
CONFIDENCE = {f'{KD}sdd_weighting': 'confidence'}

FINAL = [
    Variant('student alone', ALONE),
    Variant('regression alone', CROSSKD,
            {**PLAIN, f'{KD}loss_cls_kd.loss_weight': 0.0}),
    Variant('plain imitation', CROSSKD, PLAIN),
    Variant('SDD: box', SDD, {**NO_MAP, **box()}),
    Variant('SDD: map, QFL', SDD, sdd_map()),
    Variant('SDD: map, QFL, and box', SDD, {**sdd_map(), **box(1.0)}),
    Variant('SDD: map, kd', SDD, sdd_map(5.0, 'kd')),
    Variant('plain imitation + SDD: map, QFL', BOTH,
            {**PLAIN, **sdd_map(5.0)}),
    Variant('plain imitation + SDD: map, QFL, and box', BOTH,
            {**PLAIN, **sdd_map(5.0), **box(1.0)}),
    Variant('plain imitation + SDD: map, kd', BOTH,
            {**PLAIN, **sdd_map(5.0, 'kd')}),
    Variant('CrossKD', CROSSKD),
    Variant('CrossKD + SDD: map, QFL', BOTH, sdd_map(5.0)),
    Variant('CrossKD + SDD: map, QFL, weight 1.5', BOTH, sdd_map(1.5)),
    Variant('CrossKD + SDD: map, kd', BOTH, sdd_map(5.0, 'kd')),
]
SCREENED = {
    'map, QFL, scales 1': (SDD, sdd_map(scales=[1])),
    'map, QFL, scales 1, 2': (SDD, sdd_map(scales=[1, 2])),
    'map, QFL, scales 1, 2, 4': (SDD, sdd_map(scales=[1, 2, 4])),
    'map, QFL, scales 1, 2, 4, 8': (SDD, sdd_map(scales=[1, 2, 4, 8])),
    'map, QFL, scales 4, 8, 16': (SDD, sdd_map(scales=[4, 8, 16])),
    'map, QFL, no complementary weight':
    (SDD, sdd_map(complementary_weight=1.0)),
    'map, QFL, by confidence, weight 4':
    (SDD, {**sdd_map(4.0), **CONFIDENCE}),
    'map, QFL, weight 5': (SDD, sdd_map(5.0)),
    'map, QFL, T = 0.5': (SDD, sdd_map(temperature=0.5)),
    'map, QFL, T = 2': (SDD, sdd_map(temperature=2.0)),
    'map, Bernoulli, weight 3': (SDD, sdd_map(3.0, 'bernoulli')),
    'map, kd, scales 1, 2, 4':
    (SDD, sdd_map(5.0, 'kd', scales=[1, 2, 4])),
    'map, kd, no complementary weight':
    (SDD, sdd_map(5.0, 'kd', complementary_weight=1.0)),
    'map, dkd, weight 0.7': (SDD, sdd_map(0.7, 'dkd')),
    'map, nkd, weight 3': (SDD, sdd_map(3.0, 'nkd')),
    'box, scales 1': (SDD, {**NO_MAP, **box(scales=[1])}),
    'box, scales 1, 2': (SDD, {**NO_MAP, **box(scales=[1, 2])}),
    'box, no complementary weight':
    (SDD, {**NO_MAP, **box(complementary_weight=1.0)}),
    'box, complementary without labels':
    (SDD, {**NO_MAP, **box(label_free=True)}),
    'box, by confidence': (SDD, {**NO_MAP, **box(), **CONFIDENCE}),
    'box, weight 1': (SDD, {**NO_MAP, **box(1.0)}),
    'box, T = 0.5': (SDD, {**NO_MAP, **box(temperature=0.5)}),
    'box, T = 2': (SDD, {**NO_MAP, **box(temperature=2.0)}),
    'box, QFL, weight 6': (SDD, {**NO_MAP, **box(6.0, 'qfl')}),
    'box, kd': (SDD, {**NO_MAP, **box(base='kd')}),
    'box, dkd, weight 0.5': (SDD, {**NO_MAP, **box(0.5, 'dkd')}),
    'box, nkd, weight 1': (SDD, {**NO_MAP, **box(1.0, 'nkd')}),
    'CrossKD + SDD: map, QFL, weight 15': (BOTH, sdd_map(15.0)),
    'CrossKD + SDD: box, Bernoulli, weight 1':
    (BOTH, {**NO_MAP, **box(1.0)}),
}
REFERENCES = ('student alone', 'regression alone', 'plain imitation',
              'SDD: box', 'SDD: map, QFL', 'SDD: map, kd', 'CrossKD',
              'CrossKD + SDD: map, QFL')
SCREEN = [v for v in FINAL if v.name in REFERENCES] + [
    Variant(name, *rest) for name, rest in SCREENED.items()
]

if __name__ == '__main__':
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        'part', choices=['screen', 'final'],
        help='screen: settings, one seed, 8 epochs; '
        'final: what is compared, three seeds, 12 epochs')
    parser.add_argument(
        '--dir', default='.',
        help='folder that gets work_dirs/study/ (default: here)')
    parser.add_argument('--seeds', type=int, nargs='+', help='other seeds')
    args = parser.parse_args()
    if args.part == 'screen':
        variants, seeds, epochs = SCREEN, [0], 8
    else:
        variants, seeds, epochs = FINAL, [0, 1, 2], 12
    rows = run_study(args.dir, TEACHER, variants, args.seeds or seeds, epochs,
                     teacher_epochs=16)
    print(format_rows(rows))
