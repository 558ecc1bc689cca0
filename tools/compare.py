"""A table, curves and a page that compare trained detectors."""
import sys

from crosskd.commands import run_compare

if __name__ == '__main__':
    run_compare(sys.argv[1:], 'python tools/compare.py')
