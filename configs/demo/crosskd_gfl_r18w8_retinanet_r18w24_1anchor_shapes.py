"""The student with CrossKD from a RetinaNet with one anchor per location."""
_base_ = './crosskd_gfl_r18w8_atss_r18w24_shapes.py'
model = dict(
    teacher_config='crosskd::demo/retinanet_r18w24_1anchor_shapes.py',
    teacher_ckpt='work_dirs/retinanet_r18w24_1anchor_shapes/epoch_36.pth')
