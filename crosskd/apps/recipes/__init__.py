"""Distillation configs for any two plain detectors."""
from .config_text import make_config

__all__ = ['make_config']
