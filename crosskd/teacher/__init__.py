"""The teacher: found, strictly loaded, frozen, and run beside a student."""
from .finding import find_config
from .reading import RANDOM
from .teacher import Teacher

__all__ = ['RANDOM', 'Teacher', 'find_config']
