"""``python -m crosskd COMMAND``, or ``crosskd COMMAND``."""
import sys

from crosskd.apps.commands import main


def run() -> None:
    """Run the command that the command line names."""
    main(sys.argv[1:])


if __name__ == '__main__':
    run()
