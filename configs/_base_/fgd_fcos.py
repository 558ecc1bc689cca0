"""FGD's settings for FCOS."""
_base_ = './fgd.py'
recipe = dict(
    loss_feat_kd=dict(
        temperature=0.8, alpha=1.6e-3, beta=8e-4, gamma=8e-4, lambda_=8e-6))
