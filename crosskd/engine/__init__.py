"""The side of mmengine: the Runner, its hooks and the checks before a run."""
