"""The demo: a generated data set, three trainings, a table and a picture."""
from .run import run_demo

__all__ = ['run_demo']
