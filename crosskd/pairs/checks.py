"""Checking that the outputs of two detectors can be compared."""
from ..errors import ConfigTypeError, ConfigValueError
from ..heads import HeadRecord
from ..taps import Record
from .dense_pair import DensePair
from .pair import Pair

KEYS = ('model', 'teacher_config.model')


def check_passes(pair: Pair, learned: Record, taught: Record,
                 size: tuple[int, ...]) -> None:
    """Check the outputs of two detectors for a batch before comparing them.

    Args:
        pair: the pair of the two detectors.
        learned, taught: records of the passes of student and teacher.
        size: (N, C, H, W) of the batch.

    Raises:
        TypeError: a head returned other outputs than its family does.
        ValueError: there are fewer levels than were matched, or the two heads'
            maps of a level differ in size.
    """
    for at, (key, seen) in enumerate(zip(KEYS, (learned, taught))):
        for name, maps in seen.features.items():
            expected = max(places[at] for places in pair.matched[name])
            if len(maps) <= expected:
                raise ConfigValueError(
                    f'{key}: expected {expected + 1} feature maps of {name} '
                    f'in one pass, as for the blank image, found {len(maps)}')
        if isinstance(seen, HeadRecord):
            _check_head(key, seen)
    if isinstance(pair, DensePair) and isinstance(
            learned, HeadRecord) and isinstance(taught, HeadRecord):
        _check_sizes(pair, learned, taught, size)


def _check_head(key: str, seen: HeadRecord) -> None:
    adapter = seen.adapter
    try:
        if seen.raw is not None:
            adapter.check_outputs(seen.raw, seen.training)
    except TypeError as e:
        raise ConfigTypeError(f'{key}.{e}') from None
    levels = len(seen.sizes)
    for branch, features in seen.intermediates.items():
        if len(features) != levels:
            raise ConfigTypeError(
                f'{key}.bbox_head: {len(features)} of {levels} levels '
                f'went through the {branch} branch of '
                f'{type(adapter.head).__name__}; CrossKD needs a head '
                'that runs these layers once per level')


def _check_sizes(pair: DensePair, learned: HeadRecord, taught: HeadRecord,
                 size: tuple[int, ...]) -> None:
    for i, j in pair.levels:
        ours, theirs = learned.sizes[i], taught.sizes[j]
        if ours != theirs:
            raise ConfigValueError(
                f'teacher_config: at stride {learned.adapter.strides[i][0]} '
                f"the teacher's maps are {_text(theirs)} and the student's "
                f'{_text(ours)}, for a batch of {_text(size[2:])} pixels. '
                'They are equal if height and width of the batch are '
                'multiples of the strides of both backbones: set '
                'model.data_preprocessor.pad_size_divisor (32 for most)')


def _text(size: tuple[int, ...]) -> str:
    return '×'.join(map(str, size))
