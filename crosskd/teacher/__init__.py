"""The teacher: found, strictly loaded, frozen, and run beside a student."""
from .teacher import RANDOM, Teacher

__all__ = ['RANDOM', 'Teacher']
