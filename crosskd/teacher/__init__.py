"""The teacher: found, strictly loaded, frozen, and run beside a student."""
from .finding import find_config
from .teacher import RANDOM, Teacher

__all__ = ['RANDOM', 'Teacher', 'find_config']
