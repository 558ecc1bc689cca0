"""Distil a small detector on generated images; see README."""
import sys

from crosskd.apps.commands import main

if __name__ == '__main__':
    main(['demo', *sys.argv[1:]], 'python tools/demo.py')
