"""SDD's changes to the kd_cfg of a CrossKD config. docs/results.md says how they were chosen."""
loss_sdd = dict(
    type='SDDLoss',
    base='kd',
    scales=(1, 2, 4, 8, 16),
    temperature=1.0,
    loss_weight=5.0)
sdd = dict(
    loss_cls_kd=None, loss_sdd=loss_sdd, sdd_regions=dict(map=dict()))
crosskd_sdd = dict(loss_sdd=loss_sdd, sdd_regions=dict(map=dict()))
