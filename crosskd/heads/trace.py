"""Recording one pass through a dense head."""
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from torch import Tensor
from torch.nn import Module
from torch.utils.hooks import RemovableHandle

from .base import HeadFamily


class HeadTrace:
    """The record of one pass through a dense head.

    Attributes:
        outputs (tuple): what the head's forward returned: maps per branch and
            level; empty if it was not run.
        held_cls (list[Tensor]): per level (N, C, H, W), the intermediate
            features after ``split`` layers of the classification tower (for a
            split of 0, what the head was given); empty if none were asked for.
        held_reg (list[Tensor]): the same of the regression tower.
        targets (tuple): what ``get_targets`` returned, or None.
    """

    def __init__(self) -> None:
        self.outputs: tuple = ()
        self.held_cls: list[Tensor] = []
        self.held_reg: list[Tensor] = []
        self.targets: tuple | None = None


@contextmanager
def trace(family: HeadFamily,
          split: int | None = None) -> Iterator[HeadTrace]:
    """Record the pass through ``family.head`` that happens inside the block.

    The head runs its own code, forward as well as loss, and hooks record what
    passes; so nothing of it is copied, and subclasses keep their behaviour.

    Args:
        family: the head, wrapped in its family.
        split: record the intermediate features after so many tower layers;
            None for none.

    Yields:
        HeadTrace: filled while the block runs.
    """
    seen = HeadTrace()
    head = family.head
    with ExitStack() as stack:

        def watch(handle: RemovableHandle) -> None:
            stack.callback(handle.remove)

        watch(
            head.register_forward_hook(
                lambda _, args, out: setattr(seen, 'outputs', out)))
        if split == 0:
            watch(head.register_forward_pre_hook(_hold_inputs(seen)))
        elif split is not None:
            for tower, held in zip(family.towers,
                                   (seen.held_cls, seen.held_reg)):
                watch(tower[split - 1].register_forward_hook(
                    lambda _, args, out, held=held: held.append(out)))

        get_targets = head.get_targets

        def recording_get_targets(*args: Any, **kwargs: Any) -> tuple:
            seen.targets = get_targets(*args, **kwargs)
            return seen.targets

        stack.callback(_set_on_instance(head, 'get_targets',
                                        recording_get_targets))
        yield seen


def _set_on_instance(owner: Module, name: str,
                     value: Callable) -> Callable[[], None]:
    """Set an attribute of the instance; returns a function that undoes it."""
    own = vars(owner)
    was_there, before = name in own, own.get(name)
    own[name] = value

    def undo() -> None:
        if own.get(name) is not value:
            return  # somebody else has set another since
        if was_there:
            own[name] = before
        else:
            del own[name]

    return undo


def _hold_inputs(seen: HeadTrace) -> Callable[[Module, tuple], None]:

    def hook(_: Module, args: tuple) -> None:
        seen.held_cls.extend(args[0])
        seen.held_reg.extend(args[0])

    return hook


def check_maps(student: HeadFamily, s: HeadTrace, teacher: HeadFamily,
               t: HeadTrace, inputs: Tensor, split: int | None) -> None:
    """Check that the outputs of two heads can be compared at each location.

    Args:
        student, teacher: the heads, of equal strides.
        s, t: records of their passes over the same batch.
        inputs: (N, C, H, W), that batch.
        split: after how many tower layers intermediate features were
            recorded; None if they were not.

    Raises:
        TypeError: a head returned something else than its family does.
        ValueError: the maps of a level differ in size.
    """
    for key, family, seen in (('model', student, s),
                              ('teacher_config.model', teacher, t)):
        try:
            family.check_outputs(seen.outputs)
        except TypeError as e:
            raise TypeError(f'{key}.{e}') from None
        levels = len(seen.outputs[0])
        for branch, held in (('cls', seen.held_cls), ('reg', seen.held_reg)):
            if split is not None and len(held) != levels:
                raise TypeError(
                    f'{key}.bbox_head: {len(held)} of {levels} levels went '
                    f'through the {branch} tower of '
                    f'{type(family.head).__name__}; CrossKD needs a head '
                    'whose towers are run, once a level')
    for stride, ours, theirs in zip(student.strides, s.outputs[0],
                                    t.outputs[0]):
        if ours.shape[2:] != theirs.shape[2:]:
            height, width = inputs.shape[2:]
            raise ValueError(
                f'teacher_config: at stride {stride[0]} the maps of the '
                f'teacher are {_size(theirs)} and those of the student '
                f'{_size(ours)}, for a batch of {height}×{width} pixels. '
                'They are equal where the sides of a batch are multiples of '
                'the strides of both backbones: set '
                'model.data_preprocessor.pad_size_divisor, to 32 for most')


def _size(x: Tensor) -> str:
    return '×'.join(map(str, x.shape[2:]))
