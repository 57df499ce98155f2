"""A disk that is really small."""

import subprocess

import pytest


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 96 KiB; where nobody may mount one, the test is skipped."""
    disk = tmp_path / "disk"
    disk.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=96k", "tmpfs", str(disk)]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("may not mount")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)
