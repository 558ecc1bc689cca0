"""PAA heads: as ATSS heads, which predict the same three."""
_base_ = './crosskd_atss.py'
