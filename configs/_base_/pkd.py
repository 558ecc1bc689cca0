"""The PKD loss between the FPNs of two detectors, as in the PKD paper."""
recipe = dict(loss_feat_kd=dict(type='PKDLoss', loss_weight=6.0))
