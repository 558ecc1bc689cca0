"""mmdet's test tool with crosskd registered: the same command line."""
import sys

from crosskd.commands import run_test

if __name__ == '__main__':
    run_test(sys.argv[1:], 'python tools/test.py')
