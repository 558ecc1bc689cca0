"""From configs to a compared student: teacher, students, page."""
from .run import distil

__all__ = ['distil']
