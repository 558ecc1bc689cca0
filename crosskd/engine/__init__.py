"""The parts that use mmengine: Runner, hooks and checks before a run."""
