"""FGD's settings for detectors with two stages."""
_base_ = './fgd.py'
recipe = dict(
    loss_feat_kd=dict(alpha=5e-5, beta=2.5e-5, gamma=5e-5, lambda_=5e-7))
