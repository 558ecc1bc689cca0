"""The FGD loss for detectors with one stage and anchors, as in the FGD paper."""
recipe = dict(
    loss_feat_kd=dict(
        type='FGDLoss',
        temperature=0.5,
        alpha=1e-3,
        beta=5e-4,
        gamma=5e-4,
        lambda_=5e-6))
