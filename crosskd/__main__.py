"""``python -m crosskd COMMAND``: the tools of an installed package."""
import sys

from crosskd.apps.commands import main

if __name__ == '__main__':
    main(sys.argv[1:])
