"""A Debian machine image for the tests that need a real guest: made once, and kept between runs."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.running import Cloudlet

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "cloudlet-tests"  # its `images`, kept
BUILD_S_MAX = 1200


def debian() -> Path:
    """The directory of the newest one; skips the test where none can be had."""
    def kept() -> list[Path]:
        return sorted(path.parent for path in (CACHE / "images").glob("debian-12-amd64-*/image.json"))
    if not kept():
        built = subprocess.run([sys.executable, "-m", "cloudlet", "images", "build", "debian-12", "--data-dir",
                                str(CACHE)], capture_output=True, text=True, timeout=BUILD_S_MAX, check=False)
        if built.returncode:
            pytest.skip(f"needs a machine image, and none could be made: {built.stderr[-300:].strip()}")
    return kept()[-1]


def stock(cloudlet: Cloudlet) -> Cloudlet:
    """Puts it where a Cloudlet that is about to start takes it in."""
    shelf = cloudlet.data_dir / "images"
    shelf.mkdir(parents=True)
    subprocess.run(["cp", "-r", "--sparse=always", str(debian()), str(shelf)], check=True)
    return cloudlet


def image(cloudlet: Cloudlet) -> str:
    """The id of its image, once it is available."""
    cloudlet.aws("ec2", "wait", "image-available", "--owners", "136693071363")
    (found,) = cloudlet.client("ec2").describe_images(Owners=["136693071363"])["Images"]
    id: str = found["ImageId"]
    return id
