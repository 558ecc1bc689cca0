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
    """The output or the input of a module of a detector.

    Each tensor in it is a level.  If the module is called several times in one
    pass, such as a layer of a head, each call adds its levels.

    Attributes:
        module: its dotted name, as in ``named_modules()``.
        io: ``'output'`` or ``'input'``.
    """
    module: str
    io: str = 'output'

    def __str__(self) -> str:
        before = '' if self.io == 'output' else 'input of '
        return f'{before}{self.module}'


#: The input of a single-stage detector's head: the result of its
#: ``extract_feat``, which does not need the head to run.
HEAD_INPUT = Tap('bbox_head', 'input')


@dataclass(frozen=True)
class Level:
    """One feature map of a tap, as measured on a blank image.

    Attributes:
        channels: C of its (N, C, H, W).
        stride: pixels of the image per location, in y and x.
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
        TypeError, ValueError: it is none of these.
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
