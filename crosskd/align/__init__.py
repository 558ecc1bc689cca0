"""Giving a student's feature maps the channel statistics of a teacher's."""
from .statistics import align_statistics, channel_statistics, standardize

__all__ = ['align_statistics', 'channel_statistics', 'standardize']
