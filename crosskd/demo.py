"""The demo's images by a short name, for notebooks and scripts."""
from .apps.demo import shapes

__all__ = ['shapes']
