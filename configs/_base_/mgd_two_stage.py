"""MGD's settings for detectors with two stages."""
_base_ = './mgd.py'
recipe = dict(loss_feat_kd=dict(loss_weight=5e-7, mask_ratio=0.45))
