"""What a config needs to distil, with whichever train tool; the rest is its model."""
custom_imports = dict(imports=['crosskd'], allow_failed_imports=False)
runner_type = 'DistillationRunner'
