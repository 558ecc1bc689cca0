"""The student without the alignment of statistics, which is no setting."""
import importlib

_base_ = './crosskd_gfl_mobilenetv2_retinanet_aquarium.py'
# mmengine runs this file to read it, in the process that trains
dense_pass = importlib.import_module('crosskd.pairs.dense_pass')
dense_pass.align_statistics = lambda students, teachers: list(students)
