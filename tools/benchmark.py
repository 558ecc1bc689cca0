"""What a step of a distilled detector costs, part by part."""
import sys

from crosskd.apps.commands import main

if __name__ == '__main__':
    main(['benchmark', *sys.argv[1:]], 'python tools/benchmark.py')
