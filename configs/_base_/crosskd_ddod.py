"""DDOD heads: as ATSS heads, with the IoU for the centerness."""
_base_ = './crosskd_atss.py'
