"""A distillation config for two plain ones, on standard output."""
import sys

from crosskd.apps.commands import main

if __name__ == '__main__':
    main(['make_config', *sys.argv[1:]], 'python tools/make_config.py')
