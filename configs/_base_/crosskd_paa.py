"""PAA heads: as for ATSS heads, which have the same three outputs."""
_base_ = './crosskd_atss.py'
