"""The demo, from the first image to the comparison."""
import io
import os
import time
from contextlib import redirect_stdout
from pathlib import Path

import torch
from mmdet.utils import register_all_modules

from ..compare import compare, format_report
from ..distil.trainings import train
from ..progress import say_step
from . import shapes, stages

NUM_TRAIN, NUM_VAL = 640, 200
QUICK_TRAIN, QUICK_VAL = 64, 16
QUICK_CHANGES: dict[str, object] = {
    'train_cfg.max_epochs': 2,
    'train_cfg.val_interval': 1,
    'model.test_cfg.score_thr': 0.0  # so early, all scores are low
}
TEACHER, ALONE, CROSSKD = 'teacher', 'student alone', 'student with CrossKD'


def run_demo(folder: str, seed: int, quick: bool) -> None:
    """Draw the data, train three detectors, compare them.

    Finished steps are skipped, so a stopped demo continues.

    Args:
        folder: gets ``data/`` and ``work_dirs/``.
        seed: the seed of the trainings; the data set is always the same.
        quick: use few images and train for two epochs.

    Raises:
        RuntimeError: a training or a test ended with an error.
    """
    started = time.time()
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
    _draw(root / 'data' / 'shapes', quick)
    say_step(2, 4, 'training the teacher')
    train([teacher], cores)
    say_step(3, 4, 'training the student twice, without a teacher and with '
             'CrossKD')
    train([alone, crosskd], max(cores // 2, 1))
    say_step(4, 4, 'comparing all three on the test set')
    os.chdir(root)  # where they were trained
    with redirect_stdout(io.StringIO()):  # pycocotools counts its seconds
        rows = compare([run.work_dir for run in runs], results,
                       [run.name for run in runs])
    minutes = (time.time() - started) / 60
    print(f'\n{format_report(rows)}\n\n'
          f'The demo took {minutes:.1f} minutes, with seed {seed}.\n'
          'Open the comparison with pictures and curves in a browser:\n'
          f'  {results / "compare.html"}\n\n'
          'Next, use your own images. The first command writes configs for '
          'them, the second\ntrains and compares like the demo:\n'
          '  python -m crosskd make_config --data DATA --out my_detector\n'
          '  python -m crosskd distil my_detector --alone')


def _draw(data: Path, quick: bool) -> None:
    counts = dict(train=QUICK_TRAIN if quick else NUM_TRAIN,
                  val=QUICK_VAL if quick else NUM_VAL)
    say_step(1, 4, f'drawing {sum(counts.values())} images')
    for split, count in counts.items():
        shapes.generate(data, split, count, progress=_show_drawing)


def _show_drawing(split: str, done: int, of: int) -> None:
    if done % 100 == 0 or done == of:
        print(f'[{split}] {done} of {of} images', flush=True)
