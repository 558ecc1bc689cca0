"""From a folder of configs to a compared student."""
import io
import shlex
from collections.abc import Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import torch
from mmengine.device import get_device

from ...errors import ConfigValueError
from ..compare import compare, format_report
from ..progress import say_step
from .folder import DISTILLED, NAMES, STUDENT, TEACHER, trainings_of
from .processes import TrainingError
from .trainings import Training, check, train

CHECKPOINT = 'model.teacher_ckpt'
MANGLED = ' ,\'"'  # mmengine's --cfg-options change such values


def distil(folder: str | Path, alone: bool = False) -> list[dict[str, Any]]:
    """Train the teacher, then the distilled student, and compare them.

    The folder is one that ``python -m crosskd make_config --data`` wrote.  It
    has ``distilled.py``, ``student.py`` and, unless the teacher was trained
    elsewhere, ``teacher.py``.  Finished trainings are skipped, so a stopped
    call continues.  Training uses all visible GPUs (choose them with the
    environment variable ``CUDA_VISIBLE_DEVICES``).  Without a GPU, the two
    students are trained in parallel.

    Args:
        folder: the folder; gets ``work_dirs/`` and ``compare/compare.html``.
        alone: also train ``student.py``, the student without a teacher.

    Returns:
        list: the rows of the comparison, as
        :func:`crosskd.apps.compare.compare` returns them.

    Raises:
        FileNotFoundError, ValueError: something is missing in the folder, or
            the detectors cannot be compared.
        RuntimeError: a training or a test failed.
    """
    folder = Path(folder)
    found = trainings_of(folder, alone)
    teacher = next((t for t in found if t.name == NAMES[TEACHER]), None)
    students = [t for t in found if t is not teacher]
    total = 2 if teacher is None else 3
    if teacher is not None:
        say_step(1, total, 'training the teacher')
        _check_before(teacher, students)
        train_on_this_machine([teacher])
        for student in students:
            if student.name == NAMES[DISTILLED]:
                _point_to(teacher, student)
    say_step(total - 1, total, 'training the distilled student' +
             ' and the student without a teacher' * alone)
    train_on_this_machine(students)
    say_step(total, total, 'comparing on the test set')
    out = folder / 'compare'
    with redirect_stdout(io.StringIO()):  # pycocotools counts its seconds
        rows = compare([t.work_dir for t in found], out,
                       [t.name for t in found])
    print(f'\n{format_report(rows)}\n\n{_next_steps(students[-1], out)}',
          flush=True)
    return rows


def train_on_this_machine(trainings: Sequence[Training]) -> None:
    """Train with all visible GPUs; without one, in parallel on the CPU.

    Args, errors: as for :func:`~crosskd.apps.distil.trainings.train`.
    """
    if get_device() == 'cpu':
        left = [training for training in trainings if not training.is_finished]
        threads = torch.get_num_threads() // max(len(left), 1)
        train(trainings, max(threads, 1))
        return
    for training in trainings:
        train([training], gpus=torch.cuda.device_count())


def _check_before(teacher: Training, students: Sequence[Training]) -> None:
    """Check the students before the teacher trains for hours."""
    new = [student for student in students if not student.last_checkpoint]
    if new and not teacher.is_finished:
        print('First, crosskd checks that the student can be trained later.',
              flush=True)
        check(new)


def _point_to(teacher: Training, student: Training) -> None:
    """Let the student's config name the teacher's last checkpoint."""
    checkpoint = teacher.last_checkpoint
    if checkpoint is None:
        raise TrainingError(
            f'[{teacher.name}] wrote no checkpoint to {teacher.work_dir}; '
            'expected default_hooks.checkpoint in its config')
    named = student.cfg.model.get('teacher_ckpt')
    if named and Path(named).resolve() == checkpoint.resolve():
        return
    if any(character in str(checkpoint) for character in MANGLED):
        raise ConfigValueError(
            f'{student.config_file}: {CHECKPOINT}={named!r}; expected '
            f'{str(checkpoint)!r}. Write this path into the config: it has '
            'spaces, commas or quotation marks, so that crosskd cannot pass '
            'it as an option')
    student.changes[CHECKPOINT] = str(checkpoint)


def _next_steps(student: Training, page: Path) -> str:
    config = shlex.quote(str(student.config_file))
    plain = shlex.quote(str(student.config_file.with_name(f'{STUDENT}.py')))
    checkpoint = shlex.quote(str(student.last_checkpoint))
    exported = page.parent / 'exported'
    return (
        f'Open the comparison with pictures and curves in a browser:\n'
        f'  {(page / "compare.html").resolve()}\n'
        f'Checkpoint of the {student.name}:\n  {checkpoint}\n\n'
        'Next: test it; export it as an ordinary mmdet config and '
        'checkpoint; detect objects\nin an image. (crosskd is imported there '
        "only to replace mmcv's compiled ops, if they\nare missing.)\n"
        f'  python -m crosskd test {plain} {checkpoint}\n'
        f'  python -m crosskd export {config} {checkpoint} '
        f'{shlex.quote(str(exported))}\n'
        '  python -c "import crosskd; from mmdet.apis import DetInferencer; '
        'DetInferencer('
        f"'{exported}/student.py', '{exported}/student.pth')"
        f"""('IMAGE', out_dir='{exported}')\"""")
