"""Checking that the passes of two heads can be compared."""
from ..errors import ConfigTypeError, ConfigValueError
from ..heads import HeadAdapter, HeadRecord
from .pair import Pair


def check_passes(pair: Pair, student: HeadAdapter, learned: HeadRecord,
                 teacher: HeadAdapter, taught: HeadRecord,
                 size: tuple[int, ...]) -> None:
    """Check what two heads made of a batch, before it is compared.

    Args:
        pair: what bridges the two.
        student, teacher: the heads.
        learned, taught: records of their passes.
        size: (N, C, H, W) of the batch.

    Raises:
        TypeError: a head returned something else than its family does.
        ValueError: the maps of a level differ in size.
    """
    for key, adapter, seen in (('model', student, learned),
                               ('teacher_config.model', teacher, taught)):
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
                    'whose layers are run, once a level')
    # a teacher that nobody needs anything of has no maps
    for i, j in pair.levels if taught.sizes else ():
        ours, theirs = learned.sizes[i], taught.sizes[j]
        if ours != theirs:
            raise ConfigValueError(
                f'teacher_config: at stride {student.strides[i][0]} the maps '
                f'of the teacher are {_text(theirs)} and those of the student '
                f'{_text(ours)}, for a batch of {_text(size[2:])} pixels. '
                'They are equal where the sides of a batch are multiples of '
                'the strides of both backbones: set '
                'model.data_preprocessor.pad_size_divisor, to 32 for most')


def _text(size: tuple[int, ...]) -> str:
    return '×'.join(map(str, size))
