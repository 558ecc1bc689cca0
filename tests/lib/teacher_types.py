"""AP of the demo's student with CrossKD, by the type that its teacher runs in.

    python tests/lib/teacher_types.py FOLDER [--seeds 0 1 2]

The demo's images and configs.  Every seed trains one teacher and, from it,
one student for each type, one after the other on one core; about four minutes
a seed.  Convolutions in bfloat16 are those of ``emulated_bfloat16.py``.  What
is trained already is not trained again.
"""
import argparse
import os
from pathlib import Path
from statistics import mean, stdev

from mmdet.utils import register_all_modules

from crosskd.apps.demo import shapes, stages
from crosskd.apps.demo.run import NUM_TRAIN, NUM_VAL

TYPES = ('float32', 'bfloat16')
STUDENT = 'crosskd_gfl_r18w8_r18w24_shapes'
CONFIG = """\
_base_ = {base!r}
custom_imports = dict(
    imports=['crosskd', 'emulated_bfloat16'], allow_failed_imports=False)
model = dict(teacher_dtype={dtype!r})
"""


def run(folder: Path, seeds: list[int]) -> dict[str, list[float]]:
    """AP by type, in the order of the seeds."""
    register_all_modules()
    for split, count in dict(train=NUM_TRAIN, val=NUM_VAL).items():
        shapes.generate(folder / 'data' / 'shapes', split, count)
    found: dict[str, list[float]] = {dtype: [] for dtype in TYPES}
    for seed in seeds:
        changes: dict[str, object] = {'randomness.seed': seed}
        teacher = stages.Run(
            f'teacher, seed {seed}', 'demo/gfl_r18w24_shapes.py', folder,
            folder / 'work_dirs' / 'teachers' / f'seed{seed}', changes)
        stages.train([teacher], 1)
        for dtype in TYPES:
            config = folder / f'{dtype}.py'
            base = str(stages.MIM / 'configs' / 'demo' / f'{STUDENT}.py')
            config.write_text(CONFIG.format(base=base, dtype=dtype))
            student = stages.Run(
                f'{dtype}, seed {seed}', str(config), folder,
                folder / 'work_dirs' / f'seed{seed}',
                {**changes, 'model.teacher_ckpt': str(teacher.checkpoint)})
            stages.train([student], 1)
            ap = dict(stages.ap_curve(student))[student.epochs]
            found[dtype].append(round(100 * ap, 1))
            print(f'{dtype}, seed {seed}: AP {found[dtype][-1]}', flush=True)
    return found


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument('folder', type=Path)
    parser.add_argument('--seeds', type=int, nargs='+', default=[0, 1, 2])
    args = parser.parse_args()
    path = [str(Path(__file__).parent), os.environ.get('PYTHONPATH')]
    os.environ['PYTHONPATH'] = os.pathsep.join(filter(None, path))
    found = run(args.folder.resolve(), args.seeds)
    columns = {**found, 'bfloat16 - float32': [
        b - a for a, b in zip(*found.values())]}
    for name, values in columns.items():
        spread = f' ± {stdev(values):.1f}' if len(values) > 1 else ''
        print(f'{name}: {mean(values):.1f}{spread} '
              f'({", ".join(f"{v:.1f}" for v in values)})')


if __name__ == '__main__':
    main()
