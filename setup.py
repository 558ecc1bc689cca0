"""The package crosskd; like mmdet, it contains its configs and tools."""
import re
import shutil
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

HERE = Path(__file__).parent
VERSION = re.search(r"__version__ = '(.+)'",
                    (HERE / 'crosskd' / 'version.py').read_text())[1]
# these set up and test a checkout, so the package does not need them
OF_A_CHECKOUT = ('env.sh', 'run_tests.sh', 'demo.sh')


class BuildWithConfigs(build_py):
    """Copies configs, tools and model index into the package, as ``.mim``.

    In a checkout they are links there, which an editable installation uses.
    A normal installation does not need the links.
    """

    def run(self):
        mim = HERE / 'crosskd' / '.mim'
        for folder in ('configs', 'tools'):
            if not (HERE / folder).is_dir():
                raise SystemExit(f'{HERE / folder} is missing: this copy of '
                                 'the sources is incomplete')
            if self.editable_mode and not (mim / folder).is_dir():
                raise SystemExit(
                    f'{mim / folder} is not a link to {folder}/: this '
                    'checkout has no symbolic links, which an editable '
                    'installation needs. Install without -e, or check out '
                    'again after git config core.symlinks true')
        super().run()
        if self.editable_mode:
            return
        for folder in ('configs', 'tools'):
            to = Path(self.build_lib, 'crosskd', '.mim', folder)
            shutil.rmtree(to, ignore_errors=True)
            shutil.copytree(
                HERE / folder, to, ignore=shutil.ignore_patterns(
                    '__pycache__', *OF_A_CHECKOUT))
        to = Path(self.build_lib, 'crosskd', '.mim')
        shutil.copy(HERE / 'model-index.yml', to)


setup(
    name='crosskd',
    version=VERSION,
    description='Knowledge distillation for MMDetection 3.x: train a small '
    'detector with the help of a large one',
    long_description=(HERE / 'README.md').read_text(encoding='utf-8'),
    long_description_content_type='text/markdown',
    license='Apache-2.0',
    author='The crosskd authors',
    keywords=[
        'knowledge distillation', 'object detection', 'mmdetection',
        'openmmlab', 'onedl', 'crosskd', 'sdd', 'pkd', 'pytorch',
        'model compression'
    ],
    project_urls={
        'CrossKD (paper)': 'https://arxiv.org/abs/2306.11369',
        'SDD (paper)': 'https://arxiv.org/abs/2403.13512',
        'PKD (paper)': 'https://arxiv.org/abs/2207.02039',
        'MMDetection': 'https://mmdetection.readthedocs.io/',
    },
    python_requires='>=3.10',
    entry_points={'console_scripts': ['crosskd = crosskd.__main__:run']},
    packages=find_packages(include=['crosskd', 'crosskd.*']),
    package_data={'crosskd': ['py.typed']},
    cmdclass=dict(build_py=BuildWithConfigs),
    extras_require={
        'dev': ['crosskd[lint,tests]', 'pre-commit>=4'],
        # the site of docs/: mkdocs build --strict
        'docs': ['mkdocs-material==9.8.2', 'mkdocstrings[python]==1.0.8',
                 'ruff==0.17.6'],  # wraps long signatures
        'lint': ['ruff==0.17.6', 'mypy==2.4.1'],
        # for tools/export_student.py --onnx; it needs torch 2.8 or newer
        'onnx': ['onnx', 'onnxscript', 'onnxruntime'],
        'onedl': [
            'onedl-mmcv==2.3.6', 'onedl-mmengine==0.10.12',
            'onedl-mmdetection==3.5.1', 'torch>=2.4'
        ],
        'notebook': ['nbclient', 'ipykernel'],  # to run docs/own_data.ipynb
        # Python 3.10 and 3.11: there is no torch 2.1 for a newer one, and
        # pip refuses; no marker here, which would install nothing, silently
        'openmmlab': [
            'mmcv-lite==2.1.0', 'mmengine==0.10.7', 'mmdet==3.3.0',
            'torch>=2.1,<2.2', 'numpy<2', 'opencv-python<4.11'
        ],
        # teachers that are no detectors, docs/foundation_teachers.md; no part
        # of 'tests', because it installs torchvision, which has to fit torch
        'timm': ['timm>=1.0.20'],
        'tests': [
            'pytest', 'pytest-xdist>=3.7', 'hypothesis', 'scikit-learn',
            'tensorboard',
        ],
    },
    classifiers=[
        'Development Status :: 4 - Beta',
        'Intended Audience :: Developers',
        'Intended Audience :: Science/Research',
        'License :: OSI Approved :: Apache Software License',
        'Operating System :: POSIX :: Linux',
        'Programming Language :: Python :: 3',
        'Programming Language :: Python :: 3 :: Only',
        'Programming Language :: Python :: 3.10',
        'Programming Language :: Python :: 3.11',
        'Programming Language :: Python :: 3.12',
        'Programming Language :: Python :: 3.13',
        'Topic :: Scientific/Engineering :: Artificial Intelligence',
        'Topic :: Scientific/Engineering :: Image Recognition',
        'Topic :: Software Development :: Libraries :: Python Modules',
        'Typing :: Typed',
    ])
