"""mmdet's train tool with crosskd registered: the same command line."""
from crosskd.mmdet_tools import run

if __name__ == '__main__':
    run('train.py')
