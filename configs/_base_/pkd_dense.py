"""PKD with its weight for dense students."""
_base_ = './pkd.py'
recipe = dict(loss_feat_kd=dict(loss_weight=10.0))
