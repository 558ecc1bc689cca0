"""A table, curves and a page that compare trained detectors."""
import sys

from crosskd.apps.commands import main

if __name__ == '__main__':
    main(['compare', *sys.argv[1:]], 'python tools/compare.py')
