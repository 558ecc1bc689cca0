"""mmdet's train tool with crosskd registered: the same command line."""
import sys

from crosskd.apps.commands import main

if __name__ == '__main__':
    main(['train', *sys.argv[1:]], 'python tools/train.py')
