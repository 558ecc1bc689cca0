"""Distillation configs for any two plain detectors."""
from .config_text import make_config
from .writing import check_output, write_whole

__all__ = ['check_output', 'make_config', 'write_whole']
