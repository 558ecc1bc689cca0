"""Many students of one teacher on generated images."""
import argparse
import json
import os
import re
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean, stdev

import matplotlib
from mmdet.utils import register_all_modules

from . import shapes, stages

matplotlib.use('Agg')
from matplotlib import pyplot as plt  # noqa: E402

# what a row repeats of a training's log
LOGGED = re.compile('loss|grad_norm')


@dataclass
class Variant:
    """One row of the table.

    Attributes:
        name: what the table calls it.
        config: path below ``configs/``.
        changes: ``--cfg-options``.
        teacher: of a student; by default the first of the study.
        schedule: how many times the study's epochs it is trained.
    """
    name: str
    config: str
    changes: dict[str, object] = field(default_factory=dict)
    teacher: 'Variant | None' = None
    schedule: int = 1


@dataclass(frozen=True)
class Setting:
    """Images and training of all rows.

    Attributes:
        name: of the folder below ``work_dirs/``.
        scene: what is drawn.
        side: of the square images, in pixels.
        changes: ``--cfg-options`` of every row.
    """
    name: str
    scene: shapes.Scene
    side: int
    changes: dict[str, object] = field(default_factory=dict)


# the images and the training that docs/sdd.md reports
CROWDED = Setting('study', shapes.CROWDED, side=128, changes={
    'train_dataloader.dataset.pipeline.2.scale': (128, 128),
    'val_dataloader.dataset.pipeline.1.scale': (128, 128),
    'train_dataloader.batch_size': 8,
    'optim_wrapper.optimizer.lr': 3e-3,
    'optim_wrapper.clip_grad': None,
    'model.bbox_head.init_cfg.type': 'Normal',
    'model.bbox_head.init_cfg.std': 0.01
})


def run_study(folder: str, teacher: Variant, variants: Sequence[Variant],
              seeds: Sequence[int], epochs: int, teacher_epochs: int,
              num_train: int = 640,
              num_val: int = 200,
              setting: Setting = CROWDED) -> list[dict]:
    """Train every variant on its seeds, each run on one core.

    What is trained already is not trained again, so a variant that is changed
    needs another name.  A teacher is the same for all seeds: the spread over
    them is the students'.

    Args:
        folder: gets ``work_dirs/<name of the setting>/`` with the images, and
            ``study.json`` and ``study.png`` in a folder of its own for every
            ``epochs``.
        teacher: first row; one seed.  Those that variants name come next.
        variants: the last rows, the students.
        seeds: of the students.
        epochs, teacher_epochs: of students and teacher.
        num_train, num_val: images.
        setting: what all rows share; by default images of the study's own,
            more crowded and larger than the demo's.

    Returns:
        list[dict]: the rows, as in ``study.json``.
    """
    register_all_modules()
    study = Path(folder).resolve() / 'work_dirs' / setting.name
    results = study / f'{epochs}_epochs'
    for split, count in dict(train=num_train, val=num_val).items():
        shapes.generate(study / 'data' / 'shapes', split, count,
                        setting.side, scene=setting.scene)
    teachers = {each.name: each for each in
                (teacher, *(v.teacher or teacher for v in variants))}
    taught_by = {
        name: stages.Run(
            name, each.config, study, study / _folder(each), {
                **_schedule(each.schedule * teacher_epochs, setting),
                **each.changes, 'randomness.seed': 0
            })
        for name, each in teachers.items()
    }
    students = [[
        _student(variant, seed,
                 _schedule(variant.schedule * epochs, setting), results,
                 taught_by[(variant.teacher or teacher).name])
        for seed in seeds
    ] for variant in variants]
    cores = os.cpu_count() or 1
    try:
        stages.train(list(taught_by.values()),
                     threads=max(cores // len(taught_by), 1))
        with ThreadPoolExecutor(cores) as pool:
            list(pool.map(lambda run: stages.train([run], threads=1),
                          sum(students, [])))
        rows = [_row(each, [taught_by[name]])
                for name, each in teachers.items()]
        rows += map(_row, variants, students)
    except RuntimeError as e:
        sys.exit(f'{e}\nThe same command continues from here.')
    (results / 'study.json').write_text(json.dumps(rows, indent=1) + '\n')
    _figure(rows, results / 'study.png')
    return rows


def read_arguments(module: str, description: str | None,
                   argv: Sequence[str] | None) -> argparse.Namespace:
    """The arguments of the command of a study.

    Args:
        module: of this package, which has the command.
        description: for its help.
        argv: the words after the command; by default those of this process.
    """
    parser = argparse.ArgumentParser(
        f'python -m crosskd.demo.{module}', description=description)
    parser.add_argument(
        '--dir', default='.',
        help='folder that gets work_dirs/ (default: here)')
    parser.add_argument(
        '--seeds', type=int, nargs='+', default=[0, 1, 2],
        help='of the students (default: 0 1 2)')
    parser.add_argument(
        '--quick', action='store_true',
        help='few images, two epochs: to see that it runs')
    return parser.parse_args(argv)


def format_rows(rows: Sequence[dict]) -> str:
    """The rows as a Markdown table."""
    lines = ['| detector | AP, mean ± standard deviation | seeds |',
             '|---|---|---|']
    for row in rows:
        spread = '' if row['std'] is None else f' ± {row["std"]:.1f}'
        each = ', '.join(f'{ap:.1f}' for ap in row['AP'].values())
        lines.append(f'| {row["detector"]} | {row["mean"]:.1f}{spread} '
                     f'| {each} |')
    return '\n'.join(lines)


def format_gain(ahead: dict, behind: dict) -> str:
    """A row of that table: one row's AP less another's, seed by seed."""
    gains = [ap - behind['AP'][seed] for seed, ap in ahead['AP'].items()]
    spread = f' ± {stdev(gains):.1f}' if len(gains) > 1 else ''
    each = ', '.join(f'{gain:+.1f}' for gain in gains)
    return (f'| {ahead["detector"]} − {behind["detector"]} '
            f'| {mean(gains):+.1f}{spread} | {each} |')


def _student(variant: Variant, seed: int, shared: dict[str, object],
             results: Path, teacher: stages.Run) -> stages.Run:
    changes = {**shared, **variant.changes, 'randomness.seed': seed}
    run = stages.Run(f'{variant.name}, seed {seed}', variant.config,
                     teacher.root, results / _folder(variant) / f'seed{seed}',
                     changes)
    if 'teacher_ckpt' in run.cfg.model:
        changes['model.teacher_ckpt'] = str(teacher.checkpoint)
    return run


def _folder(variant: Variant) -> str:
    return re.sub(r'\W+', '_', variant.name)


def _schedule(epochs: int,
              setting: Setting = CROWDED) -> dict[str, object]:
    return {
        **setting.changes, 'train_cfg.max_epochs': epochs,
        'train_cfg.val_interval': epochs,
        'param_scheduler.1.T_max': epochs,
        'param_scheduler.1.end': epochs,
        'default_hooks.checkpoint.max_keep_ckpts': 1
    }


def _row(variant: Variant, runs: Sequence[stages.Run]) -> dict:
    ap, losses = {}, {}
    for run in runs:
        seed = run.changes['randomness.seed']
        logged = [{key: entry[key] for key in entry if LOGGED.match(key)}
                  for entry in stages.history(run) if 'lr' in entry]
        losses[seed] = dict(first=logged[0], last=logged[-1])
        curve = dict(stages.ap_curve(run))
        if run.epochs not in curve:
            raise RuntimeError(
                f'[{run.name}] has no AP of its last epoch: stopped in its '
                f'validation, or nothing was found. Remove {run.work_dir}')
        ap[seed] = round(100 * curve[run.epochs], 1)
    values = list(ap.values())
    return dict(
        detector=variant.name,
        config=variant.config,
        changes=variant.changes,
        epochs=runs[0].epochs,
        AP=ap,
        mean=round(mean(values), 2),
        std=round(stdev(values), 2) if len(values) > 1 else None,
        losses=losses)


def _figure(rows: Sequence[dict], path: Path) -> None:
    """AP of every row: its seeds as dots, their mean as a bar."""
    figure, axes = plt.subplots(
        figsize=(9, 0.34 * len(rows) + 1), layout='constrained')
    for y, row in enumerate(rows):
        axes.barh(y, row['mean'], color='lightsteelblue')
        axes.plot(list(row['AP'].values()), [y] * len(row['AP']), 'k.')
    axes.set_yticks(range(len(rows)), [row['detector'] for row in rows])
    axes.invert_yaxis()
    axes.set(xlabel='AP on the validation images')
    axes.grid(axis='x', alpha=0.3)
    figure.savefig(path, dpi=110)
    plt.close(figure)
