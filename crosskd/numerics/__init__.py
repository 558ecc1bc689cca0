"""Floating point and random numbers: what all other folders may use."""
