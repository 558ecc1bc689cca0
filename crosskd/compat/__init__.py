"""What changes or stands in for parts of other packages.

Each file says what it changes, why, and until which version that is needed.
"""
