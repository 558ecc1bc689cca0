"""Pairs: everything that concerns both a student and its teacher."""
from .channel_adapters import ChannelAdapter
from .classes import SharedClasses, match_classes
from .dense_pair import DensePair
from .dense_pass import DensePass, pass_of
from .pair import Pair, Side
from .paired_pass import PairedPass

__all__ = ['ChannelAdapter', 'DensePair', 'DensePass', 'Pair', 'PairedPass',
           'SharedClasses', 'Side', 'match_classes', 'pass_of']
