"""Checks of the data before training begins: see :func:`check_data`."""
from .check import check_data
from .classes import built_classes, check_classes, check_same_classes

__all__ = ['built_classes', 'check_classes', 'check_data',
           'check_same_classes']
