"""Terraform launches instances and what belongs to them, finds nothing to change, changes them, and takes them away."""

from collections.abc import Iterator
from typing import Any

import boto3
import pytest

from tests.tools import test_terraform_network as network
from tests.tools.terraform import PROVIDER
from tests.tools.test_terraform_network import Terraform
from tests.town import Town

terraform = network.terraform  # the fixture

INSTANCES = PROVIDER + """
data "aws_ami" "debian" {
  most_recent = true
  owners      = ["136693071363"]
  filter {
    name   = "name"
    values = ["debian-12-amd64*"]
  }
}

data "aws_ec2_instance_type" "small" {
  instance_type = "t3.small"
}

resource "aws_key_pair" "me" {
  key_name   = "me"
  public_key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl me"
}

resource "aws_security_group" "web" {
  name = "web"
  ingress {
    from_port   = 22
    to_port     = 22
    protocol    = "tcp"
    cidr_blocks = ["0.0.0.0/0"]
  }
}

resource "aws_iam_role" "web" {
  name = "web"
  assume_role_policy = jsonencode({ Version = "2012-10-17", Statement = [{
    Effect = "Allow", Action = "sts:AssumeRole", Principal = { Service = "ec2.amazonaws.com" } }] })
}

resource "aws_iam_instance_profile" "web" {
  name = "web"
  role = aws_iam_role.web.name
}

resource "aws_instance" "web" {
  ami                         = data.aws_ami.debian.id
  instance_type               = "%(type)s"
  key_name                    = aws_key_pair.me.key_name
  vpc_security_group_ids      = [aws_security_group.web.id]
  iam_instance_profile        = aws_iam_instance_profile.web.name
  user_data                   = "#!/bin/sh\\necho hello\\n"
  associate_public_ip_address = true
  disable_api_termination     = %(protected)s
  monitoring                  = true
  metadata_options {
    http_tokens                 = "required"
    http_put_response_hop_limit = 2
  }
  root_block_device {
    volume_size = 10
    volume_type = "gp3"
  }
  ebs_block_device {
    device_name = "/dev/sdf"
    volume_size = 5
  }
  tags = { Name = "web" }
}

resource "aws_network_interface" "back" {
  subnet_id = aws_instance.web.subnet_id
}

resource "aws_launch_template" "app" {
  name_prefix   = "app-"
  image_id      = data.aws_ami.debian.id
  instance_type = data.aws_ec2_instance_type.small.instance_type
  metadata_options {
    http_tokens   = "required"
    http_endpoint = "enabled"
  }
  block_device_mappings {
    device_name = "/dev/xvda"
    ebs {
      volume_size = 12
    }
  }
  tag_specifications {
    resource_type = "instance"
    tags          = { from = "template" }
  }
}

resource "aws_instance" "app" {
  launch_template {
    id      = aws_launch_template.app.id
    version = "$Latest"
  }
}

data "aws_instances" "all" {
  instance_state_names = ["running"]
  depends_on           = [aws_instance.web, aws_instance.app]
}

output "seen" {
  value = {
    running = length(data.aws_instances.all.ids)
    memory  = data.aws_ec2_instance_type.small.memory_size
    public  = aws_instance.web.public_ip
  }
}
"""


@pytest.fixture
def town(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Town]:
    with Town(tmp_path_factory.mktemp("town")) as made:
        yield made


@pytest.mark.slow
def test_apply_an_empty_plan_a_change_and_destroy(terraform: Terraform, town: Town) -> None:
    ec2: Any = boto3.client("ec2", endpoint_url=town.url, region_name="us-east-1", aws_access_key_id="test",
                            aws_secret_access_key="test")
    terraform.environment["AWS_ENDPOINT_URL"] = town.url
    terraform.write(INSTANCES % {"type": "t3.micro", "protected": "true"})
    terraform("init", "-input=false")
    terraform.settle()
    seen = terraform.output("seen")
    assert (seen["running"], seen["memory"]) == (2, 2048)
    (web,) = ec2.describe_instances(Filters=[{"Name": "tag:Name", "Values": ["web"]}])["Reservations"]
    assert web["Instances"][0]["PublicIpAddress"] == seen["public"]
    terraform.write(INSTANCES % {"type": "t3.small", "protected": "false"})
    terraform.settle()
    (again,) = ec2.describe_instances(Filters=[{"Name": "tag:Name", "Values": ["web"]}])["Reservations"]
    assert again["Instances"][0]["InstanceId"] == web["Instances"][0]["InstanceId"], "stopped, changed and started"
    assert again["Instances"][0]["InstanceType"] == "t3.small"
    terraform("destroy", "-auto-approve", "-input=false")
    states = {i["State"]["Name"] for r in ec2.describe_instances()["Reservations"] for i in r["Instances"]}
    assert states == {"terminated"}
    assert ec2.describe_volumes()["Volumes"] == []
    assert ec2.describe_network_interfaces()["NetworkInterfaces"] == []
