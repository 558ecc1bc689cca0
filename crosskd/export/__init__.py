"""A trained student for who does not have this package."""
from .plain import export_student

__all__ = ['export_student']
