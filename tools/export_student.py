"""A trained student as a plain mmdet config and checkpoint, or ONNX."""
import sys

from crosskd.apps.commands import main

if __name__ == '__main__':
    main(['export', *sys.argv[1:]], 'python tools/export_student.py')
