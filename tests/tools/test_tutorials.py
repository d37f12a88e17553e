"""AWS's own tutorials for the command line, as scripts changed only where a name is one's own."""

import json
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from tests.images import push_busybox
from tests.running import Cloudlet
from tests.tools.test_docker import Docker

pytestmark = [pytest.mark.root, pytest.mark.engine("podman"), pytest.mark.slow]
_direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))

# https://docs.aws.amazon.com/AmazonECS/latest/developerguide/ECS_AWSCLI_Fargate.html
FARGATE = """
aws ecs create-cluster --cluster-name fargate-cluster
aws ecs register-task-definition --cli-input-json file://fargate-task.json
aws ecs list-task-definitions
SUBNET=$(aws ec2 describe-subnets --filters Name=default-for-az,Values=true --query 'Subnets[0].SubnetId' --output text)
VPC=$(aws ec2 describe-vpcs --filters Name=is-default,Values=true --query 'Vpcs[0].VpcId' --output text)
GROUP=$(aws ec2 create-security-group --group-name web --description web --vpc-id $VPC --query GroupId --output text)
aws ec2 authorize-security-group-ingress --group-id $GROUP --protocol tcp --port 80 --cidr 0.0.0.0/0
aws ecs create-service --cluster fargate-cluster --service-name fargate-service --task-definition sample-fargate:1 \
 --desired-count 1 --launch-type "FARGATE" \
 --network-configuration "awsvpcConfiguration={subnets=[$SUBNET],securityGroups=[$GROUP],assignPublicIp=ENABLED}"
aws ecs list-services --cluster fargate-cluster
aws ecs wait services-stable --cluster fargate-cluster --services fargate-service
aws ecs describe-services --cluster fargate-cluster --services fargate-service
TASK=$(aws ecs list-tasks --cluster fargate-cluster --service fargate-service --query 'taskArns[0]' --output text)
aws ecs wait tasks-running --cluster fargate-cluster --tasks $TASK
ENI=$(aws ecs describe-tasks --cluster fargate-cluster --tasks $TASK \
 --query "tasks[0].attachments[0].details[?name=='networkInterfaceId'].value" --output text)
aws ec2 describe-network-interfaces --network-interface-id $ENI
echo address=$(aws ec2 describe-network-interfaces --network-interface-id $ENI \
 --query 'NetworkInterfaces[0].Association.PublicIp' --output text)
"""
FARGATE_END = """
aws ecs delete-service --cluster fargate-cluster --service fargate-service --force
aws ecs wait services-inactive --cluster fargate-cluster --services fargate-service
TASKS=$(aws ecs list-tasks --cluster fargate-cluster --desired-status STOPPED --query taskArns --output text)
aws ecs wait tasks-stopped --cluster fargate-cluster --tasks $TASKS
aws ecs delete-cluster --cluster fargate-cluster
"""
TASK = {"family": "sample-fargate", "networkMode": "awsvpc", "containerDefinitions": [{
    "name": "fargate-app", "image": "", "portMappings": [{"containerPort": 80, "hostPort": 80, "protocol": "tcp"}],
    "essential": True, "entryPoint": ["sh", "-c"], "stopTimeout": 2,
    "command": ["/bin/sh -c \"echo '<html><h1>Amazon ECS Sample App</h1></html>' > /tmp/index.html && busybox httpd -f"
                " -p 80 -h /tmp\""]}],
    "requiresCompatibilities": ["FARGATE"], "cpu": "256", "memory": "512"}

# https://docs.aws.amazon.com/AmazonECR/latest/userguide/getting-started-cli.html
REGISTRY = """
URI=$(aws ecr create-repository --repository-name hello-repository --region us-east-1 \
 --query repository.repositoryUri --output text)
aws ecr get-login-password --region us-east-1 | docker login --username AWS --password-stdin ${URI%/*}
docker tag hello-world:latest $URI
docker push $URI
docker rmi $URI
docker pull $URI:latest
aws ecr describe-images --repository-name hello-repository --region us-east-1
aws ecr batch-delete-image --repository-name hello-repository --image-ids imageTag=latest --region us-east-1
aws ecr list-images --repository-name hello-repository --query 'length(imageIds)' --output text
aws ecr delete-repository --repository-name hello-repository --force --region us-east-1
"""

# https://docs.aws.amazon.com/IAM/latest/UserGuide/tutorial_cross-account-with-roles.html
DELEGATION = """
export AWS_ACCESS_KEY_ID=$PRODUCTION
aws iam create-policy --policy-name read-write-app-bucket --policy-document file://read-write.json
aws iam create-role --role-name UpdateApp --assume-role-policy-document file://trust.json
aws iam attach-role-policy --role-name UpdateApp \
 --policy-arn arn:aws:iam::$PRODUCTION:policy/read-write-app-bucket
export AWS_ACCESS_KEY_ID=$DEVELOPMENT
aws iam create-group --group-name Developers
aws iam create-group --group-name Testers
for NAME in David Theresa; do aws iam create-user --user-name $NAME; done
aws iam add-user-to-group --user-name David --group-name Developers
aws iam add-user-to-group --user-name Theresa --group-name Testers
aws iam attach-group-policy --group-name Developers --policy-arn arn:aws:iam::aws:policy/PowerUserAccess
aws iam attach-group-policy --group-name Testers --policy-arn arn:aws:iam::aws:policy/PowerUserAccess
aws iam put-group-policy --group-name Developers --policy-name allow-assume-S3-role-in-production \
 --policy-document file://may.json
aws iam put-group-policy --group-name Testers --policy-name deny-assume-S3-role-in-production \
 --policy-document file://must-not.json
ROLE=arn:aws:iam::$PRODUCTION:role/UpdateApp
as() { set -- $(aws iam create-access-key --user-name $1 \
 --query 'AccessKey.[AccessKeyId,SecretAccessKey]' --output text)
 AWS_ACCESS_KEY_ID=$1; AWS_SECRET_ACCESS_KEY=$2; }
( as Theresa; { aws sts assume-role --role-arn $ROLE --role-session-name test 2>&1 || true; } | grep AccessDenied )
as David
set -- $(aws sts assume-role --role-arn $ROLE --role-session-name David-ProdUpdate \
 --query 'Credentials.[AccessKeyId,SecretAccessKey,SessionToken]' --output text)
export AWS_ACCESS_KEY_ID=$1 AWS_SECRET_ACCESS_KEY=$2 AWS_SESSION_TOKEN=$3
aws sts get-caller-identity --query Arn --output text
aws ecs list-clusters
{ aws iam list-users 2>&1 || true; } | grep AccessDenied
"""


def policy(effect: str, action: str, resource: str = "*", **more: object) -> str:
    statement = {"Effect": effect, "Action": action, **({"Resource": resource} if resource else {}), **more}
    return json.dumps({"Version": "2012-10-17", "Statement": statement})


def script(cloudlet: Cloudlet, directory: Path, text: str, **environment: str) -> str:
    """Runs a script as `bash -e` does, with the aws of our virtual environment; what it said."""
    path = f"{Path(sys.executable).parent}:{cloudlet.environment['PATH']}"
    done = subprocess.run(["bash", "-euo", "pipefail", "-c", text], cwd=directory, stdin=subprocess.DEVNULL, text=True,
                          env={**cloudlet.environment, "PATH": path, **environment}, capture_output=True, timeout=300,
                          check=False)
    assert done.returncode == 0, f"{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return done.stdout


def test_a_fargate_linux_task_with_the_aws_cli(cloudlet: Cloudlet, tmp_path: Path) -> None:
    TASK["containerDefinitions"][0]["image"] = push_busybox(cloudlet)  # type: ignore[index]
    (tmp_path / "fargate-task.json").write_text(json.dumps(TASK))
    said = script(cloudlet, tmp_path, FARGATE)
    assert "sample-fargate:1" in said
    address = said.rpartition("address=")[2].strip()
    with _direct.open(f"http://{address}/", timeout=20) as answer:
        assert b"Amazon ECS Sample App" in answer.read()
    assert '"status": "INACTIVE"' in script(cloudlet, tmp_path, FARGATE_END)


@pytest.mark.engine("dockerd")
@pytest.mark.engine("docker")
def test_getting_started_with_the_registry(cloudlet: Cloudlet, tmp_path: Path) -> None:
    docker = Docker(tmp_path, cloudlet.environment)
    try:
        docker.build("hello-world:latest", ("hello", "Hello World!"))
        said = script(cloudlet, tmp_path, REGISTRY, **{name: docker.environment[name] for name in (
            "DOCKER_HOST", "DOCKER_CONFIG")})
    finally:
        docker.process.terminate()
        docker.process.wait(timeout=30)
    assert "Login Succeeded" in said
    assert "\n0\n" in said


def test_access_across_accounts_with_roles(cloudlet: Cloudlet, tmp_path: Path) -> None:
    production, development = "111111111111", "222222222222"
    (tmp_path / "read-write.json").write_text(policy("Allow", "ecs:List*"))
    (tmp_path / "trust.json").write_text(policy("Allow", "sts:AssumeRole", "", Principal={"AWS": development}))
    role = f"arn:aws:iam::{production}:role/UpdateApp"
    (tmp_path / "may.json").write_text(policy("Allow", "sts:AssumeRole", role))
    (tmp_path / "must-not.json").write_text(policy("Deny", "sts:AssumeRole", role))
    said = script(cloudlet, tmp_path, DELEGATION, PRODUCTION=production, DEVELOPMENT=development)
    assert f"arn:aws:sts::{production}:assumed-role/UpdateApp/David-ProdUpdate" in said
