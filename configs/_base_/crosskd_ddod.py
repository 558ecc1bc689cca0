"""DDOD heads: as for ATSS heads, with the IoU in place of the centerness."""
_base_ = './crosskd_atss.py'
