"""Pairs: all that is about two detectors, a student and a teacher."""
from .channel_adapters import ChannelAdapter
from .classes import SharedClasses, match_classes
from .pair import Pair
from .paired_pass import PairedPass

__all__ = ['ChannelAdapter', 'Pair', 'PairedPass', 'SharedClasses',
           'match_classes']
