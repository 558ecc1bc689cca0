"""How a student's feature becomes one that the teacher's layers accept."""
from .statistics import align_statistics, channel_statistics, standardize

__all__ = ['align_statistics', 'channel_statistics', 'standardize']
