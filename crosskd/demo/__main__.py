"""The demo's command line: ``python -m crosskd.demo``."""
import argparse

from .run import run_demo


def main() -> None:
    """Run the demo on this process's arguments."""
    parser = argparse.ArgumentParser(
        description='Distil a small detector on generated images; see README.')
    parser.add_argument(
        '--dir', default='.',
        help='folder that gets data/ and work_dirs/ (default: here)')
    parser.add_argument(
        '--seed', type=int, default=0, help='of all trainings (default: 0)')
    parser.add_argument(
        '--quick', action='store_true',
        help='all stages in about two minutes; AP means nothing then')
    args = parser.parse_args()
    run_demo(args.dir, args.seed, args.quick)


if __name__ == '__main__':
    main()
