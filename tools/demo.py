"""Distil a small detector on generated images; see README."""
import argparse

from crosskd.demo import run_demo

if __name__ == '__main__':
    parser = argparse.ArgumentParser(description=__doc__)
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
