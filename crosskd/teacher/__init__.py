"""The teacher: finding, strict loading, freezing and running it."""
from .feature_teacher import FeatureTeacher
from .reading import RANDOM
from .teacher import Teacher
from .timm_teacher import TimmTeacher

__all__ = ['RANDOM', 'FeatureTeacher', 'Teacher', 'TimmTeacher']
