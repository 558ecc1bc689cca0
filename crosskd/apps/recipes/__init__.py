"""Distillation configs for any two detectors, and for a user's data."""
from .config_text import make_config
from .folder import Configs, write_configs
from .writing import check_output, write_whole

__all__ = ['Configs', 'check_output', 'make_config', 'write_configs',
           'write_whole']
