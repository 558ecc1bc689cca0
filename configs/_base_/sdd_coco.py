"""SDD with finer grids, for the larger feature maps of COCO images."""
_base_ = './sdd.py'
sdd = dict(loss_sdd=dict(scales=(1, 2, 4, 8, 16, 32, 64)))
crosskd_sdd = dict(loss_sdd=dict(scales=(1, 2, 4, 8, 16, 32, 64)))
