"""The processor time of an epoch, of each method of docs/results.md.

``python results/speed/methods.py`` runs a step of each student of photographs
and circuit boards, in turns and in one thread.  It counts CPU time, in which
what else the machine does hardly counts.  It writes
``results/speed/methods.json``, from which ``results/run.py report`` draws AP
over time.
"""
import argparse
import json
import sys
import time
from pathlib import Path
from statistics import median

import torch

from crosskd.apps.benchmark import Setting
from crosskd.apps.benchmark.machine import machine
from crosskd.apps.benchmark.silence import silence
from crosskd.apps.benchmark.steps import Steps

sys.path.insert(0, str(Path(__file__).parents[1]))
from matrix import DETECTORS  # noqa: E402

PHOTOGRAPHS = 'photographs', (320, 320), 8, 64
BOARDS = 'boards', (192, 192), 16, 44
#: as the detectors' names begin: images, their size, batch size, and the
#: steps of an epoch
STUDENTS = {
    'photographs': PHOTOGRAPHS,
    'photographs, 32 channels': PHOTOGRAPHS,
    'boards, GFL': BOARDS,
    'boards, RetinaNet': BOARDS,
}


def steps_of(student: str) -> dict[str, tuple[Steps, str]]:
    """By every method: the steps, and which of them trains it."""
    images, size, batch, _ = STUDENTS[student]
    found = {}
    for each in DETECTORS[images]:
        if each.teacher and each.name.partition(': ')[0] == student:
            with_alone = ('student', ) if not found else ()
            steps = Steps(Setting(each.config, {
                **each.changes, 'model.teacher_ckpt': 'random'
            }, size, batch, threads=1), (*with_alone, 'distilled'))
            if with_alone:
                found[f'{student}: alone'] = steps, 'student'
            found[each.name] = steps, 'distilled'
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--repeats', type=int, default=7)
    parser.add_argument('--warm-up', type=int, default=2)
    args = parser.parse_args()
    seconds: dict[str, list[float]] = {}
    for student in STUDENTS:
        with silence():
            methods = steps_of(student)
            for number in range(args.warm_up + args.repeats):
                for detector, (steps, name) in methods.items():
                    begin = time.process_time()
                    steps.run(name)
                    if number >= args.warm_up:
                        seconds.setdefault(detector, []).append(
                            time.process_time() - begin)
    minutes = {
        name: round(median(each) * STUDENTS[name.partition(':')[0]][-1] / 60,
                    3) for name, each in seconds.items()}
    Path(__file__).with_suffix('.json').write_text(json.dumps(dict(
        machine=machine(torch.device('cpu')), minutes_of_an_epoch=minutes),
        indent=1) + '\n')
    for name, each in minutes.items():
        print(f'{name}: {each} min an epoch')


if __name__ == '__main__':
    main()
