"""The student with SDD."""
_base_ = [
    './crosskd_gfl_mobilenetv2_head32_aquarium.py',
    'crosskd::_base_/sdd.py'
]
model = dict(type='SDDSingleStageDetector', kd_cfg=_base_.sdd)
