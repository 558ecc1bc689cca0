"""Notes on how the figures were measured."""
from collections.abc import Sequence
from typing import Any

from .errors_by_kind import RULE
from .judging import IOU
from .verdict import same_network

Row = dict[str, Any]


def about_gain(rows: Sequence[Row]) -> list[str]:
    """The baselines of the gains."""
    over: dict[str, list[str]] = {}
    for row in rows:
        if row['gain']:
            over.setdefault(row['gain']['over'], []).append(row['detector'])
    if len(over) > 1:
        return [f'Gain: {", ".join(names)} over {name}.'
                for name, names in over.items()]
    return [f'Gain: over {name}.' for name in over]


def about_time(rows: Sequence[Row]) -> list[str]:
    """How the time per image was measured."""
    devices = {row['inference']['device'] for row in rows}
    where = devices.pop() if len(devices) == 1 else '; '.join(
        f'{row["detector"]} on {row["inference"]["device"]}' for row in rows)
    counts = {row['inference']['images'] for row in rows}
    images = ' to '.join(map(str, sorted({min(counts), max(counts)})))
    by_name = {row['detector']: row for row in rows}
    same = {row['gain']['over']: row['detector'] for row in rows
            if row['gain'] and same_network(
                row, by_name[row['gain']['over']])}
    return [f'Time per image: the median over {images} test images, one at '
            'a time, with pre- and postprocessing, but without reading the '
            f'file ({where}).',
            *(f'{one} and {other} are the same network, so any difference '
              'between their times is chance.' for one, other in same.items())]


def about_flops(rows: Sequence[Row]) -> list[str]:
    """The image for which FLOPs were counted, and what was not counted."""
    found = []
    counted = [row for row in rows if row['flops']['count'] is not None]
    if counted:
        sizes = dict.fromkeys('{} × {}'.format(*row['flops']['size'])
                              for row in counted)
        found.append(
            'FLOPs: counted by mmengine for the first test image '
            f'({" or ".join(sizes)} pixels); a multiplication and the '
            'addition that follows it count as one.')
    unknown = sorted({operation.removeprefix('aten::').rstrip('_')
                      for row in counted
                      for operation in row['flops']['not_counted']})
    if unknown:
        found.append('mmengine does not count these operations: '
                     f'{", ".join(unknown)}.')
    return found + [
        f'The FLOPs of {row["detector"]} could not be counted: '
        f'{row["flops"]["reason"]}.'
        for row in rows if row['flops']['count'] is None]


def about_training(rows: Sequence[Row]) -> list[str]:
    """What ± and the training step mean, if there are any."""
    found = []
    if any(len(row['work_dirs']) > 1 for row in rows):
        found.append('± is the standard deviation over trainings that '
                     'differ only in the seed.')
    if any(row['step_time'] for row in rows):
        found.append('Training step: the median time in the log, on the '
                     'machine that trained, including the teacher if there '
                     'is one.')
    return found


def about_objects(rows: Sequence[Row]) -> list[str]:
    """How objects and boxes were judged."""
    score = rows[0]['objects']['score']
    found = [
        f'Only boxes with a score above {score} count. A box is right if it '
        f'has an IoU of {IOU} or more with an object of its class that no '
        'box with a higher score found.', RULE]
    if any(row['gain'] for row in rows):
        found.append('Gained: objects that this detector found and its '
                     'baseline missed. Lost: the other way round.')
    several = [row for row in rows if len(row['work_dirs']) > 1]
    if several:
        folders = ', '.join(row['work_dirs'][0] for row in several)
        found.append('If a detector was trained several times, these numbers '
                     'and the pictures are from its first work directory: '
                     f'{folders}.')
    return found
