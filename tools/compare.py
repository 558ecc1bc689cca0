"""Compare trained detectors in tables, curves and a page."""
import sys

from crosskd.apps.commands import main

if __name__ == '__main__':
    main(['compare', *sys.argv[1:]], 'python tools/compare.py')
