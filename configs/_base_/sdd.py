"""What SDD adds to the kd_cfg of a CrossKD config; docs/sdd.md says why this."""
sdd = dict(
    loss_sdd=dict(
        type='SDDLoss',
        base='qfl',
        scales=(1, 2, 4, 8, 16),
        temperature=1.0,
        loss_weight=5.0),
    sdd_regions=dict(map=dict()))
