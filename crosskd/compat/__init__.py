"""Changes to other packages, and replacements for parts of them.

Each file says what it changes, why, and until which version that is needed.
"""
