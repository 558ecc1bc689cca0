"""Checks of the data before training begins: see :func:`check_data`."""
from .check import check_data
from .classes import check_classes, check_same_classes

__all__ = ['check_classes', 'check_data', 'check_same_classes']
