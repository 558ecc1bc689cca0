"""The same student of another teacher."""
_base_ = './crosskd_gfl_mobilenetv2_retinanet_aquarium.py'
model = dict(
    teacher_config='{{ fileDirname }}/'
    'retinanet_mobilenetv2_1anchor_gn_teacher_aquarium.py')
