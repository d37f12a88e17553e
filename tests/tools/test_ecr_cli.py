"""AWS's own pages on ECR, typed as they stand there with the AWS CLI.

https://docs.aws.amazon.com/AmazonECR/latest/userguide/getting-started-cli.html, image-retag.html, lpp_creation.html,
lp_creation.html, set-repository-policy.html, image-scanning-basic.html and registry-settings-configure.html
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.images import Registry
from tests.running import Cloudlet

REPLICATION = {"rules": [{"destinations": [{"region": "us-west-2", "registryId": "000000000000"}],
                          "repositoryFilters": [{"filter": "hello", "filterType": "PREFIX_MATCH"}]}]}
LIFECYCLE = {"rules": [{"rulePriority": 1, "description": "Keep only one image, expire all others", "selection": {
    "tagStatus": "tagged", "tagPatternList": ["old*"], "countType": "imageCountMoreThan", "countNumber": 1},
    "action": {"type": "expire"}}]}
POLICY = {"Version": "2008-10-17", "Statement": [{
    "Sid": "allow public pull", "Effect": "Allow", "Principal": "*",
    "Action": ["ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"]}]}
FIRST = """
aws ecr create-repository --repository-name hello-repository --region us-east-1
aws ecr put-replication-configuration --replication-configuration file://replication-settings.json --region us-east-1
aws ecr get-login-password --region us-east-1 > password
"""
PAGES = """
MANIFEST=$(aws ecr batch-get-image --repository-name hello-repository --image-ids imageTag=latest \
  --output text --query 'images[].imageManifest')
aws ecr put-image --repository-name hello-repository --image-tag 2017.03 --image-manifest "$MANIFEST"
aws ecr describe-images --repository-name hello-repository > described
aws ecr start-lifecycle-policy-preview --repository-name hello-repository --lifecycle-policy-text file://policy.json
aws ecr wait lifecycle-policy-preview-complete --repository-name hello-repository
aws ecr get-lifecycle-policy-preview --repository-name hello-repository > preview
aws ecr put-lifecycle-policy --repository-name hello-repository --lifecycle-policy-text file://policy.json
aws ecr set-repository-policy --repository-name hello-repository --policy-text file://my-policy.json
aws ecr get-repository-policy --repository-name hello-repository
aws ecr put-image-scanning-configuration --repository-name hello-repository \
  --image-scanning-configuration scanOnPush=true
aws ecr describe-image-scan-findings --repository-name hello-repository --image-id imageTag=2017.03 > findings
if aws ecr wait image-scan-complete --repository-name hello-repository --image-id imageTag=2017.03; then exit 9; fi
aws ecr describe-image-replication-status --repository-name hello-repository --image-id imageTag=2017.03 > replication
aws ecr list-images --repository-name hello-repository --filter tagStatus=TAGGED --query 'length(imageIds)'
aws ecr batch-delete-image --repository-name hello-repository --image-ids imageTag=latest imageTag=2017.03
aws ecr delete-repository --repository-name hello-repository --force
"""


@pytest.mark.slow
def test_the_pages_as_they_stand(cloudlet: Cloudlet, tmp_path: Path) -> None:
    for name, content in (("replication-settings", REPLICATION), ("policy", LIFECYCLE), ("my-policy", POLICY)):
        (tmp_path / f"{name}.json").write_text(json.dumps(content, indent=4))

    def type_in(script: str) -> None:
        environment = cloudlet.environment
        environment["PATH"] = f"{Path(sys.executable).parent}:{environment['PATH']}"
        done = subprocess.run(["bash", "-eu", "-o", "pipefail", "-c", script], cwd=tmp_path, env=environment,
                              stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=200, check=False)
        assert done.returncode == 0, done.stdout + done.stderr

    def seen(name: str) -> Any:
        return json.loads((tmp_path / name).read_text())
    type_in(FIRST)
    registry = Registry(cloudlet.url, (tmp_path / "password").read_text().strip())
    old = registry.push("hello-repository", "old-1", [b"one"], ["/bin/true"])
    registry.push("hello-repository", "old-2", [b"two"], ["/bin/true"])
    latest = registry.push("hello-repository", "latest", [b"three"], ["/bin/true"])
    type_in(PAGES)
    described = {image["imageDigest"]: set(image["imageTags"]) for image in seen("described")["imageDetails"]}
    assert described[latest] == {"latest", "2017.03"}
    preview = seen("preview")
    assert [image["imageDigest"] for image in preview["previewResults"]] == [old]
    assert seen("findings")["imageScanStatus"]["status"] == "FAILED"
    (status,) = seen("replication")["replicationStatuses"]
    assert status == {"region": "us-west-2", "registryId": "000000000000", "status": "COMPLETE"}
    assert cloudlet.client("ecr").describe_repositories()["repositories"] == []
    west = cloudlet.client("ecr", region="us-west-2").describe_images(repositoryName="hello-repository")
    assert {image["imageDigest"] for image in west["imageDetails"]} >= {old, latest}
