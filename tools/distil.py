"""Train teacher and student of a folder of configs, and compare them."""
import sys

from crosskd.apps.commands import main

if __name__ == '__main__':
    main(['distil', *sys.argv[1:]], 'python tools/distil.py')
