"""What a step of a distilled detector costs, part by part."""
import sys

from crosskd.commands import run_benchmark_command

if __name__ == '__main__':
    run_benchmark_command(sys.argv[1:], 'python tools/benchmark.py')
