"""The real Terraform with the real AWS provider, where the machine has them."""

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

# Where machines keep providers that need not be fetched: the first two are Terraform's own.
MIRRORS = ("/usr/local/share/terraform/plugins", "/usr/share/terraform/plugins", "/opt/tf-plugins")

# The provider as a newcomer would declare it, nothing skipped, with tags on everything.
PROVIDER = """
terraform {
  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "~> 5.0"
    }
  }
}

provider "aws" {
  region     = "us-east-1"
  access_key = "test"
  secret_key = "test"
  default_tags {
    tags = { made_by = "terraform" }
  }
}
"""


class Terraform:
    """Terraform in a directory of its own, with nothing of the user's around it."""

    def __init__(self, directory: Path, mirror: str) -> None:
        self.directory = directory
        self.environment = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "TF_"))}
        self.environment |= {"TF_IN_AUTOMATION": "1", "CHECKPOINT_DISABLE": "1", "AWS_CONFIG_FILE": "/dev/null",
                             "AWS_SHARED_CREDENTIALS_FILE": "/dev/null", "NO_PROXY": "localhost,127.0.0.1",
                             "AWS_EC2_METADATA_DISABLED": "true"}
        config = directory / "terraformrc"
        config.write_text(f'provider_installation {{ filesystem_mirror {{ path = "{mirror}" }} }}\n')
        self.environment["TF_CLI_CONFIG_FILE"] = str(config)

    def write(self, text: str) -> None:
        (self.directory / "main.tf").write_text(text)

    def __call__(self, *arguments: str, expect: int = 0) -> str:
        """Runs it. Never without an endpoint of ours: the provider would ask the real AWS."""
        configuration = "".join(path.read_text() for path in self.directory.glob("*.tf"))
        assert "AWS_ENDPOINT_URL" in self.environment or "endpoints {" in configuration, "say whom the provider asks"
        done = subprocess.run(["terraform", *arguments, "-no-color"], cwd=self.directory, env=self.environment,
                              stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=300, check=False)
        assert done.returncode == expect, done.stdout + done.stderr
        return done.stdout

    def settle(self) -> None:
        """Applies what is written; a plan after that finds nothing to change."""
        self("apply", "-auto-approve", "-input=false")
        self("plan", "-detailed-exitcode", "-input=false")

    def output(self, name: str) -> Any:
        """An output of the configuration, from its state."""
        state = json.loads((self.directory / "terraform.tfstate").read_text())
        return state["outputs"][name]["value"]


def install(directory: Path) -> Terraform:
    """Terraform for one test; skips the test where the machine has none."""
    if shutil.which("terraform") is None:
        pytest.skip("needs the program terraform")
    for mirror in MIRRORS:
        if list(Path(mirror).glob("*/hashicorp/aws")):
            return Terraform(directory, mirror)
    pytest.skip(f"needs Terraform's AWS provider in one of {', '.join(MIRRORS)}")
