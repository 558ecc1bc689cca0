"""mmdet's test tool with crosskd registered: the same command line."""
import sys

from crosskd.apps.commands import main

if __name__ == '__main__':
    main(['test', *sys.argv[1:]], 'python tools/test.py')
