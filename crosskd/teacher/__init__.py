"""The teacher: finding, strict loading, freezing and running it."""
from .reading import RANDOM
from .teacher import Teacher

__all__ = ['RANDOM', 'Teacher']
