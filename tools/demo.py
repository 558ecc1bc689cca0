"""Distil a small detector on generated images; see README."""
from crosskd.demo.__main__ import main

if __name__ == '__main__':
    main()
