"""Places in a detector at which features are taken."""
from dataclasses import dataclass
from typing import Any

from ..arguments import check_known, one_of
from ..errors import ConfigTypeError, ConfigValueError

IOS = ('output', 'input')
#: the name of the features that are taken at the default taps
FEATURES = 'features'


@dataclass(frozen=True)
class Tap:
    """What a module of a detector returns, or what it is given.

    Levels are the tensors in it, and those of every further call of the module
    in one pass (as of a layer of a head, which runs once a level).

    Attributes:
        module: its dotted name, as ``named_modules()`` has it.
        io: ``'output'`` or ``'input'``.
    """
    module: str
    io: str = 'output'

    def __str__(self) -> str:
        before = '' if self.io == 'output' else 'input of '
        return f'{before}{self.module}'


#: What a single-stage detector gives its head, which is what its
#: ``extract_feat`` returns: it can be had without running the head.
HEAD_INPUT = Tap('bbox_head', 'input')


@dataclass(frozen=True)
class Level:
    """One feature map of a tap, as measured on a blank image.

    Attributes:
        channels: C of its (N, C, H, W).
        stride: pixels of the image a location, in y and x.
    """
    channels: int
    stride: tuple[float, float]


def read_tap(key: str, value: Any) -> Tap | None:
    """Read a tap from a config.

    Args:
        key: of the config, for messages.
        value: the name of a module, for its output; or a dict with ``module``
            and ``io``; None for the default.

    Raises:
        TypeError, ValueError: it is neither.
    """
    if value is None or isinstance(value, Tap):
        return value
    if isinstance(value, str):
        value = dict(module=value)
    if not isinstance(value, dict) or not isinstance(value.get('module'), str):
        raise ConfigTypeError(
            f"{key} must be the name of a module, such as 'neck', or a dict "
            f"such as dict(module='bbox_head', io='input'), found {value!r}")
    for name in value:
        check_known(key, name, ('module', 'io'))
    if not value['module']:
        raise ConfigValueError(f'{key}: the name of a module is empty')
    return Tap(value['module'],
               one_of(f'{key}.io', value.get('io', 'output'), IOS))
