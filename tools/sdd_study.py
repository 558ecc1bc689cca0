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
    """Options for one kind of region."""
    return {f'{KD}sdd_regions.{kind}.{k}': v for k, v in changes.items()}


def only(*regions):
    """Options for SDD without plain imitation of the classification."""
    changes = {f'{KD}loss_cls_kd': None, f'{KD}sdd_regions.map': None}
    for options in regions:
        if any('.map.' in key for key in options):
            del changes[f'{KD}sdd_regions.map']
        changes.update(options)
    return changes


def sdd_map(loss_weight=15.0, **changes):
    return region('map', loss_weight=loss_weight, **changes)


def box(loss_weight=3.0, base='bernoulli', scales=(1, 2, 4), **changes):
    return region('box', loss_weight=loss_weight, base=base,
                  scales=list(scales), **changes)


CONFIDENCE = {f'{KD}sdd_weighting': 'confidence'}

FINAL = [
    Variant('student alone', ALONE),
    Variant('plain imitation', CROSSKD, PLAIN),
    Variant('SDD: map', SDD, only(sdd_map())),
    Variant('SDD: box', SDD, only(box())),
    Variant('SDD: map and box', SDD, only(sdd_map(), box(1.0))),
    Variant('plain imitation + SDD: map', SDD),
    Variant('plain imitation + SDD: map and box', SDD, box(1.0)),
    Variant('SDD: map, kd', SDD, only(sdd_map(5.0, base='kd'))),
    Variant('CrossKD', CROSSKD),
    Variant('CrossKD + SDD: map, kd', BOTH, sdd_map(5.0, base='kd')),
    Variant('plain imitation + SDD: map, kd', SDD, sdd_map(5.0, base='kd')),
    Variant('CrossKD + SDD: map', BOTH),
    Variant('CrossKD + SDD: map, weight 1.5', BOTH, sdd_map(1.5)),
    Variant('regression alone (no classification imitated)', CROSSKD,
            {**PLAIN, f'{KD}loss_cls_kd.loss_weight': 0.0}),
]
SCREENED = {
    'map, scales 1': (SDD, only(sdd_map(scales=[1]))),
    'map, scales 1, 2': (SDD, only(sdd_map(scales=[1, 2]))),
    'map, scales 1, 2, 4': (SDD, only(sdd_map(scales=[1, 2, 4]))),
    'map, scales 1, 2, 4, 8': (SDD, only(sdd_map(scales=[1, 2, 4, 8]))),
    'map, scales 4, 8, 16': (SDD, only(sdd_map(scales=[4, 8, 16]))),
    'map, no complementary weight':
    (SDD, only(sdd_map(complementary_weight=1.0))),
    'map, by confidence, weight 4': (SDD, {**only(sdd_map(4.0)),
                                           **CONFIDENCE}),
    'map, weight 5': (SDD, only(sdd_map(5.0))),
    'map, T = 0.5': (SDD, only(sdd_map(temperature=0.5))),
    'map, T = 2': (SDD, only(sdd_map(temperature=2.0))),
    'map, Bernoulli, weight 3': (SDD, only(sdd_map(3.0, base='bernoulli'))),
    'map, kd, weight 5': (SDD, only(sdd_map(5.0, base='kd'))),
    'map, dkd, weight 0.7': (SDD, only(sdd_map(0.7, base='dkd'))),
    'map, nkd, weight 3': (SDD, only(sdd_map(3.0, base='nkd'))),
    'box, scales 1': (SDD, only(box(scales=[1]))),
    'box, scales 1, 2': (SDD, only(box(scales=[1, 2]))),
    'box, no complementary weight':
    (SDD, only(box(complementary_weight=1.0))),
    'box, complementary without labels': (SDD, only(box(label_free=True))),
    'box, by confidence': (SDD, {**only(box()), **CONFIDENCE}),
    'box, weight 1': (SDD, only(box(1.0))),
    'box, T = 0.5': (SDD, only(box(temperature=0.5))),
    'box, T = 2': (SDD, only(box(temperature=2.0))),
    'box, QFL, weight 6': (SDD, only(box(6.0, base='qfl'))),
    'box, kd': (SDD, only(box(base='kd'))),
    'box, dkd, weight 0.5': (SDD, only(box(0.5, base='dkd'))),
    'box, nkd, weight 1': (SDD, only(box(1.0, base='nkd'))),
    'CrossKD + SDD: map, weight 15': (BOTH, sdd_map(15.0)),
    'CrossKD + SDD: box, Bernoulli, weight 1':
    (BOTH, {f'{KD}sdd_regions.map': None, **box(1.0)}),
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
