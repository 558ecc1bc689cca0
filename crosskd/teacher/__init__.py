"""The teacher: found, strictly loaded, frozen, and run beside a student."""
from .reading import RANDOM
from .teacher import Teacher

__all__ = ['RANDOM', 'Teacher']
