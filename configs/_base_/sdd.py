"""What SDD's configs set in kd_cfg, alone and beside CrossKD; docs/sdd.md."""
sdd = dict(
    loss_cls_kd=None,
    loss_sdd=dict(type='SDDLoss', base='qfl', temperature=1.0),
    sdd_regions=dict(
        map=dict(scales=(1, 2, 4, 8, 16), loss_weight=15.0),
        box=dict(base='bernoulli', scales=(1, 2, 4), loss_weight=1.0)))
crosskd_sdd = dict(
    loss_sdd=dict(type='SDDLoss', base='qfl', temperature=1.0),
    sdd_regions=dict(map=dict(scales=(1, 2, 4, 8, 16), loss_weight=5.0)))
