"""Train what docs/results.md compares, and write its tables.

    python results/run.py shapes
    python results/run.py features
    python results/run.py photographs --data FOLDER --weights FILE
    python results/run.py boards --data FOLDER
    python results/run.py report

Stopped at whatever moment, the same command continues: a training from its
last epoch, and what has a line in a file of ``results/records/`` is not
trained again (remove the line to measure it anew).
"""
import argparse
import json
import os
import platform
import re
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from importlib import metadata
from pathlib import Path
from statistics import median

import mmcv
import mmdet
import mmengine
import store
import torch
from matrix import DETECTORS, HERE, Detector
from mmdet.utils import register_all_modules
from mmengine.config import DictAction
from report import write_report

import crosskd
from crosskd.apps.compare import logs
from crosskd.apps.demo import shapes, stages

RECORDS = HERE / 'records'
METRICS = ('bbox_mAP', 'bbox_mAP_50', 'bbox_mAP_75', 'bbox_mAP_s',
           'bbox_mAP_m', 'bbox_mAP_l')
NUM_TRAIN, NUM_VAL = 640, 200  # of images that are drawn
ON_DISK = ('photographs', 'boards')
Job = tuple[Detector, int, stages.Run]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('what', choices=[*DETECTORS, 'report'])
    parser.add_argument('--seeds', type=int, nargs='+', default=[0, 1, 2],
                        help='of the students; teachers have seed 0')
    parser.add_argument('--only', nargs='+', metavar='WORD', default=[''],
                        help='detectors whose name has one of these')
    parser.add_argument('--dir', default='work_dirs/results',
                        help='folder for images and trainings')
    parser.add_argument('--records', default=str(RECORDS),
                        help='folder for the records')
    parser.add_argument('--jobs', type=int, default=os.cpu_count(),
                        help='trainings at once, each on one core')
    parser.add_argument('--data', help='folder with images/, train.json and '
                        'val.json, for photographs and boards')
    parser.add_argument('--weights', metavar='FILE', help='ImageNet weights '
                        'of MobileNetV2, for photographs')
    parser.add_argument('--teacher', metavar='FILE', help='checkpoint of the '
                        'teacher of photographs, which is not trained then')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction,
                        default={}, metavar='KEY=VALUE',
                        help='to see that it runs')
    args = parser.parse_args()
    if args.what == 'report':
        write_report(Path(args.records))
        return
    if args.what in ON_DISK and not args.data:
        parser.error(f'{args.what} need --data')
    if args.what == 'photographs' and not args.weights:
        parser.error('photographs need --weights')
    if args.teacher and args.what != 'photographs':
        parser.error('--teacher is that of photographs')
    for name in ('weights', 'teacher'):
        file = getattr(args, name)
        if file and not Path(file).is_file():
            parser.error(f'--{name}: {file} is no file')
    register_all_modules()
    root = Path(args.dir).resolve() / args.what
    _prepare_data(args, root)
    _train(args, root)


def _prepare_data(args: argparse.Namespace, root: Path) -> None:
    data = root / 'data'
    if args.what in ON_DISK:
        data.mkdir(parents=True, exist_ok=True)
        link = data / args.what
        link.unlink(missing_ok=True)
        link.symlink_to(Path(args.data).resolve())
    else:
        for split, count in dict(train=NUM_TRAIN, val=NUM_VAL).items():
            shapes.generate(data / 'shapes', split, count)


def _train(args: argparse.Namespace, root: Path) -> None:
    records = _records(args)

    def train(job: Job) -> None:
        detector, seed, run = job
        stages.train([run], threads=1)
        # a teacher may have been measured before
        if seed not in store.read(records).get(detector.name, {}):
            if not _validated(run):
                _validate(run)
            _write_record(records, detector, seed, run)

    for jobs in plan(args, root):
        try:
            with ThreadPoolExecutor(args.jobs) as pool:
                list(pool.map(train, jobs))
        except (RuntimeError, subprocess.CalledProcessError,
                KeyboardInterrupt) as e:
            sys.exit(f'{e}\nThe same command continues from here.')


def plan(args: argparse.Namespace,
         root: Path) -> tuple[list[Job], list[Job]]:
    """The trainings that lack a record: teachers, then students.

    A teacher that has one is trained again for its students, and one whose
    checkpoint was named never.
    """
    records = store.read(_records(args))
    detectors = {each.name: each for each in DETECTORS[args.what]}
    checkpoints = {}
    if args.teacher:
        checkpoints['teacher'] = Path(args.teacher).resolve()
    teachers: list[Job] = []
    students: list[Job] = []

    def add(teacher: Detector) -> Path:
        run = _run(teacher, 0, root, args)
        teachers.append((teacher, 0, run))
        return run.checkpoint

    # a seed of all methods before the next one, so that a run that is
    # stopped has something to compare
    for seed in args.seeds:
        for each in detectors.values():
            asked = any(word in each.name for word in args.only)
            if not asked or (each.is_teacher and seed != args.seeds[0]):
                continue
            number = 0 if each.is_teacher else seed
            if number in records.get(each.name, {}):
                continue
            if each.is_teacher:
                if each.name not in checkpoints:
                    checkpoints[each.name] = add(each)
                continue
            run = _run(each, number, root, args)
            if each.teacher:
                if each.teacher not in checkpoints:
                    checkpoints[each.teacher] = add(detectors[each.teacher])
                run.changes['model.teacher_ckpt'] = str(
                    checkpoints[each.teacher])
            students.append((each, number, run))
    return teachers, students


def _run(detector: Detector, seed: int, root: Path,
         args: argparse.Namespace) -> stages.Run:
    changes: dict[str, object] = {
        'randomness.seed': seed,
        **detector.changes,
        **args.cfg_options
    }
    run = stages.Run(f'{detector.name}, seed {seed}', detector.config, root,
                     root / _slug(detector.name) / f'seed{seed}', changes)
    if run.cfg.model.backbone.get('init_cfg'):
        changes['model.backbone.init_cfg.checkpoint'] = str(
            Path(args.weights).resolve())
    return run


def _slug(name: str) -> str:
    return re.sub(r'\W+', '_', name).strip('_')


def _records(args: argparse.Namespace) -> Path:
    return Path(args.records, f'{args.what}.jsonl')


def _validated(run: stages.Run) -> list[dict]:
    """What the validation of the last epoch logged, if it was reached."""
    return [entry for entry in stages.history(run)
            if 'lr' not in entry and entry['step'] == run.epochs]


def _validate(run: stages.Run) -> None:
    """Validate a training that was stopped in its last validation.

    Resuming does not: there is no epoch left to train.
    """
    subprocess.run(  # noqa: S603
        [sys.executable, str(stages.MIM / 'tools/test.py'),
         str(run.config_file), str(run.checkpoint), '--work-dir',
         str(run.work_dir), *run.options],
        cwd=run.root, env={**os.environ, 'OMP_NUM_THREADS': '1'},
        stdout=subprocess.DEVNULL, check=True)
    # named after the time, unlike what others keep there
    result = max(run.work_dir.glob('[0-9]*/[0-9]*.json'))
    scalars = result.parent / 'vis_data/scalars.json'
    scalars.parent.mkdir(exist_ok=True)
    scalars.write_text(json.dumps(
        {**json.loads(result.read_text()), 'step': run.epochs}) + '\n')


def _write_record(records: Path, detector: Detector, seed: int,
                  run: stages.Run) -> None:
    """What one training gave, and on what it was measured."""
    logged = stages.history(run)
    steps = [entry for entry in logged if 'lr' in entry]
    measured, = _validated(run)
    losses = {
        when: {key: round(value, 4) for key, value in entry.items()
               if 'loss' in key or key == 'grad_norm'}
        for when, entry in (('first', steps[0]), ('last', steps[-1]))
    }
    ratios = [entry['grad_ratio'] for entry in steps if 'grad_ratio' in entry]
    record = dict(
        detector=detector.name,
        seed=seed,
        teacher=detector.teacher,
        config=Path(run.config).name,
        changes=detector.changes,
        epochs=run.epochs,
        # mmdet gives -1 where there is no object of a size
        **{key: round(100 * measured.get(f'coco/{key}', 0), 1)
           for key in METRICS},
        AP_curve=[[epoch, round(100 * ap, 1)]
                  for epoch, ap in stages.ap_curve(run)],
        losses=losses,
        grad_ratio=round(median(ratios), 3) if ratios else None,
        seconds_a_step=logs.step_time(logged),
        version=crosskd.__version__,
        commit=_commit(),
        command=' '.join(['python', 'results/run.py',
                          *_words(sys.argv[1:])]),
        date=time.strftime('%Y-%m-%d'),
        machine=_machine())
    store.add(records, record)
    print(f'[{run.name}] AP {record["bbox_mAP"]}', flush=True)


def _words(argv: list[str]) -> list[str]:
    """The command without the paths of this machine."""
    words, hidden = [], {'--data': 'FOLDER', '--weights': 'FILE',
                         '--teacher': 'FILE', '--dir': 'FOLDER',
                         '--records': 'FOLDER'}
    for before, word in zip(['', *argv], argv):
        words.append(hidden.get(before, word))
    return words


def _commit() -> str:
    done = subprocess.run(  # noqa: S603
        ['git', 'rev-parse', '--short', 'HEAD'],  # noqa: S607
        cwd=HERE, capture_output=True, text=True, check=False)
    return done.stdout.strip() or 'unknown'


def _machine() -> str:
    stack = 'OneDL' if _is_installed('onedl-mmengine') else 'OpenMMLab'
    device = (torch.cuda.get_device_name() if torch.cuda.is_available()
              else f'{os.cpu_count()} CPU cores, one thread a training')
    return (f'{device}; Python {platform.python_version()}, torch '
            f'{torch.__version__}, {stack} (mmcv {mmcv.__version__}, '
            f'mmengine {mmengine.__version__}, mmdet {mmdet.__version__})')


def _is_installed(name: str) -> bool:
    try:
        metadata.version(name)
    except metadata.PackageNotFoundError:
        return False
    return True


if __name__ == '__main__':
    main()
