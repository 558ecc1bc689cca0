"""The figures of docs/adapters.md: a student of half the teacher's channels.

On the demo's images, with the demo's teacher and schedule.
"""
from collections.abc import Sequence

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
SETTING = Setting('adapters', shapes.DEMO, side=96)
QUICK = Setting('adapters-quick', shapes.DEMO, side=96, changes=QUICK_CHANGES)
CROSSKD_CONFIG = 'demo/crosskd_gfl_r18w8_head16_r18w24_shapes.py'
TEACHER = Variant('teacher', 'demo/gfl_r18w24_shapes.py')
ALONE = Variant('student alone', 'demo/gfl_r18w8_head16_shapes.py')
PLAIN = Variant('student with plain imitation', CROSSKD_CONFIG,
                {'model.kd_cfg.prediction': 'student'})
CROSSKD = Variant('student with CrossKD', CROSSKD_CONFIG)


def main(argv: Sequence[str] | None = None) -> None:
    """Train the teacher and all students, and print their table."""
    args = read_arguments('adapter_study', __doc__, argv)
    students = [ALONE, PLAIN, CROSSKD]
    if args.quick:
        rows = run_study(args.dir, TEACHER, students, args.seeds,
                         QUICK_EPOCHS, QUICK_EPOCHS, QUICK_TRAIN, QUICK_VAL,
                         QUICK)
    else:
        rows = run_study(args.dir, TEACHER, students, args.seeds, EPOCHS,
                         EPOCHS, setting=SETTING)
    _, alone, plain, crosskd = rows
    print(format_rows(rows), format_gain(crosskd, alone),
          format_gain(crosskd, plain), sep='\n')


if __name__ == '__main__':
    main()
