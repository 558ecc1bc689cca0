"""The transformer as student, with PKD."""
_base_ = ['./dino_r18w8_shapes.py', 'crosskd::_base_/distillation.py']
model = dict(
    type='DistilledDetector',
    detector='DINO',
    teacher_config='{{ fileDirname }}/dino_r18w24_shapes.py',
    teacher_ckpt='to be named',
    kd_cfg=dict(loss_feat_kd=dict(type='PKDLoss', loss_weight=6.0)))
