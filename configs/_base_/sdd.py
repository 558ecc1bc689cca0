"""SDD's default setting, alone and beside CrossKD; see docs/sdd.md."""
loss_sdd = dict(type='SDDLoss', base='qfl', temperature=1.0)
sdd_regions = dict(
    map=dict(scales=(1, 2, 4, 8, 16), loss_weight=15.0),
    box=dict(base='bernoulli', scales=(1, 2, 4), loss_weight=1.0))
crosskd_sdd_regions = dict(
    map=dict(scales=(1, 2, 4, 8, 16), loss_weight=5.0))
