"""What people look at: pictures of what distillation does."""
from .hook import DistillationVisualizationHook

__all__ = ['DistillationVisualizationHook']
