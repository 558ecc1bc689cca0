"""Floating point and random numbers; all other folders may use it."""
