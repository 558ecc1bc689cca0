"""Comparing trained detectors: a table, curves and a page."""
from .run import compare
from .table import format_report, format_table

__all__ = ['compare', 'format_report', 'format_table']
