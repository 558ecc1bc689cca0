"""PKD with its weight between two detectors without a second stage."""
_base_ = './pkd.py'
recipe = dict(loss_feat_kd=dict(loss_weight=10.0))
