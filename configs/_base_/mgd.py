"""The MGD loss for detectors with one stage, as in the MGD paper."""
recipe = dict(
    loss_feat_kd=dict(type='MGDLoss', loss_weight=2e-5, mask_ratio=0.65))
