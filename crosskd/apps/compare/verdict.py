"""The main results, in sentences."""
from collections.abc import Sequence
from typing import Any

from .texts import gain, millions, milliseconds, percent, signed

Row = dict[str, Any]


def verdict(rows: Sequence[Row]) -> list[str]:
    """One paragraph for each detector that was distilled or has a gain."""
    by_name = {row['detector']: row for row in rows}
    told = [row for row in rows if row['gain'] or row['distilled']]
    if not told:
        return [_nothing_to_tell(rows)]
    return [' '.join([*_gain(row, by_name), *_teacher(row, by_name)])
            for row in told]


def _nothing_to_tell(rows: Sequence[Row]) -> str:
    if len(rows) == 1:
        return (f'{rows[0]["detector"]} has {_ap(rows[0])} AP. To see a gain, '
                'add the work directory of a detector to compare it with.')
    return ('There is no gain to show, because none of these detectors was '
            'distilled. --baseline NAME shows the gain of all others over '
            'the detector of that name.')


def _gain(row: Row, by_name: dict[str, Row]) -> list[str]:
    name, found = row['detector'], row['gain']
    if found is None:
        return [
            f'{name} has {_ap(row)} AP. There is no gain to show, because no '
            'detector of the same class and size without a teacher is '
            'compared. Train the student without its teacher, too, and add '
            'its work directory, or name another detector with --baseline.']
    over = by_name[found['over']]
    if found['AP'] is None:
        return [f'{name} or {over["detector"]} has no AP, so there is no '
                'gain.']
    is_alone = same_network(row, over)
    sentences = [
        f'{name} has {_ap(row)} AP, {_compared(found["AP"])} '
        f'{over["detector"]} ({_ap(over)})' + (
            ', the same detector trained without a teacher.' if is_alone
            else '.')]
    if is_alone and found['unlike']:
        sentences.append('Their configs also differ in '
                         f'{", ".join(found["unlike"])}, so distillation may '
                         'not be the only reason.')
    return [*sentences, *_interval(found), *_seeds(row, over)]


def same_network(row: Row, over: Row) -> bool:
    """Whether a baseline is the distilled detector without its teacher."""
    return (row['distilled'] and not over['distilled']
            and over['parameters'] == row['parameters'])


def _compared(difference: float) -> str:
    if not difference:
        return 'the same as'
    return f'{abs(difference):.1f} {"more" if difference > 0 else "less"} than'


def _interval(found: dict[str, Any]) -> list[str]:
    if found['interval'] is None:
        return []
    low, high = found['interval']
    text = ('With other test images of the same kind, the gain would be '
            f'between {signed(low)} and {signed(high)} ({found["coverage"]} % '
            f'interval from {found["resamples"]} resamples of the '
            f'{found["images"]} test images)')
    if low <= 0 <= high:
        text += '; this includes 0, so the two may be equally good'
    return [f'{text}.']


def _seeds(row: Row, over: Row) -> list[str]:
    counts = [len(one['work_dirs']) for one in (row, over)]
    if row['gain']['std'] is not None:
        return [f'Over {counts[0]} seeds the gain is {gain(row["gain"])} '
                '(mean ± standard deviation).']
    if counts == [1, 1]:
        return ['Each was trained once; another seed may change the gain by '
                'more than that.']
    return [f'{row["detector"]} was trained {_times(counts[0])}, '
            f'{over["detector"]} {_times(counts[1])}, with different seeds, '
            'so there is no ± over seeds for the gain.']


def _times(count: int) -> str:
    return 'once' if count == 1 else f'{count} times'


def _teacher(row: Row, by_name: dict[str, Row]) -> list[str]:
    size = millions(row['parameters'])
    if row['teacher'] is None:
        return [f'It has {size} parameters and takes {_time(row)} per image.']
    teacher = by_name[row['teacher']]
    ours, theirs = (one['metrics']['AP']['mean'] for one in (row, teacher))
    named = f'its teacher ({teacher["detector"]}, {_ap(teacher)})'
    if ours is None or not theirs:
        share = 'It has'
    elif ours > theirs:
        share = f'It has a higher AP than {named}, with'
    else:
        share = (f'It reaches {100 * ours / theirs:.0f} % of the AP of '
                 f'{named} with')
    part = 100 * row['parameters'] / max(teacher['parameters'], 1)
    text = (f'{share} {part:.0f} % of the teacher\'s parameters ({size} '
            f'instead of {millions(teacher["parameters"])})')
    if row['inference']['device'] == teacher['inference']['device']:
        text += (f', and takes {_time(row)} per image instead of '
                 f'{_time(teacher)}')
    return [f'{text}.']


def _ap(row: Row) -> str:
    return percent(row['metrics']['AP'])


def _time(row: Row) -> str:
    return milliseconds(row['inference']['seconds'])
