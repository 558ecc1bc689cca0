"""The student with SDD."""
_base_ = [
    './crosskd_retinanet_r18w8_r18w24_boards.py',
    'crosskd::_base_/sdd.py'
]
model = dict(type='SDDSingleStageDetector', kd_cfg=_base_.sdd)
