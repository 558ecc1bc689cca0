"""The student with the head of RetinaNet, with PKD from Faster R-CNN."""
_base_ = ['./retinanet_r18w8_shapes.py', 'crosskd::_base_/distillation.py']
model = dict(
    type='DistilledDetector',
    detector='RetinaNet',
    teacher_config='{{ fileDirname }}/faster_r18w24_shapes.py',
    teacher_ckpt='to be named',
    kd_cfg=dict(loss_feat_kd=dict(type='PKDLoss', loss_weight=2.0)))
