"""mmdet's train tool with crosskd registered: the same command line."""
import sys

from crosskd.commands import run_train

if __name__ == '__main__':
    run_train(sys.argv[1:], 'python tools/train.py')
