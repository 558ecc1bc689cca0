"""Distil a small detector on generated images; see README."""
import sys

from crosskd.commands import run_demo_command

if __name__ == '__main__':
    run_demo_command(sys.argv[1:], 'python tools/demo.py')
