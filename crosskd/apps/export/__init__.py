"""Exporting a trained student for use without this package."""
from .plain import plain_config
from .student import WEIGHTS, Exported, export_student

__all__ = ['WEIGHTS', 'Exported', 'export_student', 'plain_config']
