"""The same with the grids that the larger maps of COCO's images call for."""
_base_ = './sdd.py'
sdd_regions = dict(map=dict(scales=(1, 2, 4, 8, 16, 32, 64)))
crosskd_sdd_regions = dict(map=dict(scales=(1, 2, 4, 8, 16, 32, 64)))
