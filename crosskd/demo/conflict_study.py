"""The figures of docs/conflict.md: teachers that assign otherwise.

On the demo's images, with the demo's student and schedule.
"""
from collections.abc import Iterable, Sequence
from statistics import mean

from . import shapes
from .run import QUICK_CHANGES, QUICK_TRAIN, QUICK_VAL
from .study import (
    Setting,
    Variant,
    format_gain,
    format_rows,
    read_arguments,
    run_study,
)

EPOCHS, QUICK_EPOCHS = 12, 2
SETTING = Setting('conflict', shapes.DEMO, side=96)
QUICK = Setting('conflict-quick', shapes.DEMO, side=96, changes=QUICK_CHANGES)
ATSS = Variant('ATSS', 'demo/atss_r18w24_shapes.py')
# in the study's epochs these learn much less than GFL and ATSS
RETINA_1 = Variant('RetinaNet, one anchor',
                   'demo/retinanet_r18w24_1anchor_shapes.py', schedule=3)
RETINA_9 = Variant('RetinaNet, nine anchors',
                   'demo/retinanet_r18w24_shapes.py', schedule=3)
CONFIGS = {
    teacher.name: f'demo/crosskd_gfl_r18w8_{name}_shapes.py'
    for teacher, name in ((ATSS, 'atss_r18w24'),
                          (RETINA_1, 'retinanet_r18w24_1anchor'),
                          (RETINA_9, 'retinanet_r18w24'))
}
WEIGHTS = ('model.kd_cfg.loss_cls_kd.loss_weight',
           'model.kd_cfg.loss_reg_kd.loss_weight')
LOSSES = ('loss_cls', 'loss_bbox', 'loss_dfl', 'loss_cls_kd', 'loss_reg_kd',
          'grad_norm')


def plain_imitation(teacher: Variant) -> Variant:
    """The student whose own predictions imitate that teacher's."""
    return Variant(f'plain imitation of {teacher.name}',
                   CONFIGS[teacher.name],
                   {'model.kd_cfg.prediction': 'student'}, teacher)


def crosskd(teacher: Variant, priors: int = 1) -> Variant:
    """The student with CrossKD, not divided by so many priors a location."""
    name = f'CrossKD from {teacher.name}'
    if priors == 1:
        return Variant(name, CONFIGS[teacher.name], teacher=teacher)
    return Variant(f'{name}, not divided', CONFIGS[teacher.name],
                   dict.fromkeys(WEIGHTS, float(priors)), teacher)


ALONE = Variant('student alone', 'demo/gfl_r18w8_shapes.py')
PLAIN_ATSS, CROSSKD_ATSS = plain_imitation(ATSS), crosskd(ATSS)
PLAIN_1, CROSSKD_1 = plain_imitation(RETINA_1), crosskd(RETINA_1)
CROSSKD_9, CROSSKD_9_UNDIVIDED = crosskd(RETINA_9), crosskd(RETINA_9, 9)
STUDENTS = (ALONE, PLAIN_ATSS, CROSSKD_ATSS, PLAIN_1, CROSSKD_1,
            CROSSKD_9_UNDIVIDED, CROSSKD_9)
GAINS = [(student, ALONE) for student in STUDENTS[1:]] + [
    (CROSSKD_ATSS, PLAIN_ATSS), (CROSSKD_1, PLAIN_1),
    (CROSSKD_9, CROSSKD_9_UNDIVIDED)
]


def main(argv: Sequence[str] | None = None) -> None:
    """Train the teachers and all students, and print their tables."""
    args = read_arguments('conflict_study', __doc__, argv)
    if args.quick:
        rows = run_study(args.dir, ATSS, STUDENTS, args.seeds, QUICK_EPOCHS,
                         QUICK_EPOCHS, QUICK_TRAIN, QUICK_VAL, QUICK)
    else:
        rows = run_study(args.dir, ATSS, STUDENTS, args.seeds, EPOCHS, EPOCHS,
                         setting=SETTING)
    by_name = {row['detector']: row for row in rows}
    print(format_rows(rows))
    for ahead, behind in GAINS:
        print(format_gain(by_name[ahead.name], by_name[behind.name]))
    print(format_losses(by_name[student.name] for student in STUDENTS))


def format_losses(rows: Iterable[dict]) -> str:
    """Each row's first and last logged losses, means over its seeds."""
    lines = ['', f'| first → last logged | {" | ".join(LOSSES)} |',
             '|---' * (len(LOSSES) + 1) + '|']
    for row in rows:
        cells = [row['detector']]
        for loss in LOSSES:
            both = [[each[when][loss] for each in row['losses'].values()
                     if loss in each[when]] for when in ('first', 'last')]
            cells.append(' → '.join(f'{mean(values):.3g}' for values in both)
                         if all(both) else '–')
        lines.append(f'| {" | ".join(cells)} |')
    return '\n'.join(lines)


if __name__ == '__main__':
    main()
