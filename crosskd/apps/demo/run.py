"""The demo from the first image to the page that compares."""
import os
import signal
import sys
import time
from pathlib import Path

import torch
from mmdet.utils import register_all_modules

from ..compare import compare, format_table
from . import shapes, stages

NUM_TRAIN, NUM_VAL = 640, 200
QUICK_TRAIN, QUICK_VAL = 64, 16
QUICK_CHANGES: dict[str, object] = {
    'train_cfg.max_epochs': 2,
    'train_cfg.val_interval': 1,
    'model.test_cfg.score_thr': 0.0  # or nothing is detected so early
}
TEACHER, ALONE, CROSSKD = 'teacher', 'student alone', 'student with CrossKD'


def run_demo(folder: str, seed: int, quick: bool) -> None:
    """Draw the data, train three detectors, compare them.

    A stage that is done is not done again, so a stopped demo continues.

    Args:
        folder: gets ``data/`` and ``work_dirs/``.
        seed: of the trainings; the data set is always the same.
        quick: few images, two epochs.
    """
    started = time.time()
    # so that a killed demo takes its trainings with it
    signal.signal(signal.SIGTERM, lambda *_: sys.exit('Terminated.'))
    register_all_modules()
    root = Path(folder).resolve()
    changes: dict[str, object] = {'randomness.seed': seed}
    if quick:
        root = root / 'work_dirs' / 'demo-quick'
        changes.update(QUICK_CHANGES)
    results = root / 'work_dirs' / 'demo' / f'seed{seed}'
    teacher = stages.Run(
        TEACHER, 'demo/gfl_r18w24_shapes.py', root, results, changes)
    alone = stages.Run(
        ALONE, 'demo/gfl_r18w8_shapes.py', root, results, changes)
    crosskd = stages.Run(
        CROSSKD, 'demo/crosskd_gfl_r18w8_r18w24_shapes.py', root, results,
        {**changes, 'model.teacher_ckpt': str(teacher.checkpoint)})
    runs = [teacher, alone, crosskd]
    cores = torch.get_num_threads()
    half = max(cores // 2, 1)
    try:
        _draw(root / 'data' / 'shapes', quick)
        _say('2 of 4: the teacher is trained')
        stages.train([teacher], cores)
        _say('3 of 4: the student is trained alone and, side by side with '
             'that, with CrossKD')
        stages.train([alone, crosskd], half)
        _say('4 of 4: all three are evaluated and compared')
        os.chdir(root)  # where they were trained
        rows = compare([run.work_dir for run in runs], results,
                       [run.name for run in runs])
    except KeyboardInterrupt:
        sys.exit('\nStopped. The same command continues from here.')
    except RuntimeError as e:
        sys.exit(f'{e}\nThe same command continues from here.')
    gain = (rows[2]['metrics']['AP']['mean'] -
            rows[1]['metrics']['AP']['mean'])
    print(f'\n{format_table(rows)}\n\n'
          f'CrossKD: {gain:+.1f} AP over the same student alone, with seed '
          f'{seed}, after {(time.time() - started) / 60:.1f} minutes.\n'
          'Look at it in a browser (beside it are its pictures and curves):\n'
          f'  {results / "compare.html"}\n\n'
          'Next, your own data: copy the configs, edit the three lines at the '
          'top of\nmy_configs/gfl_r50_own_data.py, train a teacher, then the '
          f'student:\n  cp -r {stages.MIM / "configs/own_data"} my_configs\n'
          '  python -m crosskd train my_configs/gfl_r50_own_data.py '
          '--auto-scale-lr\n'
          '  python -m crosskd train my_configs/crosskd_r18_r50_own_data.py '
          '--auto-scale-lr')


def _draw(data: Path, quick: bool) -> None:
    counts = dict(train=QUICK_TRAIN if quick else NUM_TRAIN,
                  val=QUICK_VAL if quick else NUM_VAL)
    _say(f'1 of 4: {sum(counts.values())} images are drawn')
    for split, count in counts.items():
        shapes.generate(data, split, count, progress=_show_drawing)


def _show_drawing(split: str, done: int, of: int) -> None:
    if done % 100 == 0 or done == of:
        print(f'[{split}] {done} of {of} images', flush=True)


def _say(step: str) -> None:
    print(f'\n== {step}', flush=True)
