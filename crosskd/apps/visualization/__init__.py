"""Pictures that show how distillation works."""
from .hook import DistillationVisualizationHook

__all__ = ['DistillationVisualizationHook']
