"""Features of any module of a detector, by the module's name."""
from .measuring import measure
from .needs import Needs, Plan
from .record import Record
from .running import run_to
from .tap import FEATURES, HEAD_INPUT, Level, Tap, read_tap
from .tapping import tapped

__all__ = ['FEATURES', 'HEAD_INPUT', 'Level', 'Needs', 'Plan', 'Record',
           'Tap', 'measure', 'read_tap', 'run_to', 'tapped']
