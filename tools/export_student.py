"""A trained student as a plain mmdet config and checkpoint, or ONNX."""
import sys

from crosskd.commands import run_export_command

if __name__ == '__main__':
    run_export_command(sys.argv[1:], 'python tools/export_student.py')
