"""Every distillation config needs this, with any train tool. The rest is the model."""
custom_imports = dict(imports=['crosskd'], allow_failed_imports=False)
runner_type = 'DistillationRunner'
