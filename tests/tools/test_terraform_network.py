"""Terraform makes a network, finds nothing to change, and takes it away again."""

from pathlib import Path
from typing import Any

import pytest

from tests.running import Cloudlet
from tests.tools.terraform import Terraform, install

SKIPS = """
  skip_credentials_validation = true
  skip_requesting_account_id  = true
  skip_metadata_api_check     = true
  skip_region_validation      = true
"""

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
  region      = "us-east-1"
  access_key  = "test"
  secret_key  = "test"
  max_retries = 3
  %(skips)s
  endpoints {
    ec2 = "%(url)s"
    sts = "%(url)s"
    iam = "%(url)s"
  }
  default_tags {
    tags = { made_by = "terraform" }
  }
}
"""

NETWORK = """
data "aws_availability_zones" "here" { state = "available" }
data "aws_region" "here" {}
data "aws_vpc" "default" { default = true }
data "aws_subnets" "default" {
  filter {
    name   = "vpc-id"
    values = [data.aws_vpc.default.id]
  }
}
data "aws_security_group" "default" {
  name   = "default"
  vpc_id = data.aws_vpc.default.id
}

resource "aws_vpc" "main" {
  cidr_block           = "10.20.0.0/16"
  enable_dns_hostnames = true
  tags                 = { Name = "main" }
}

resource "aws_vpc_ipv4_cidr_block_association" "more" {
  vpc_id     = aws_vpc.main.id
  cidr_block = "10.21.0.0/16"
}

resource "aws_subnet" "public" {
  count                   = 2
  vpc_id                  = aws_vpc.main.id
  cidr_block              = cidrsubnet(aws_vpc.main.cidr_block, 8, count.index)
  availability_zone       = data.aws_availability_zones.here.names[count.index]
  map_public_ip_on_launch = true
  tags                    = { Name = "public-${count.index}" }
}

resource "aws_subnet" "private" {
  vpc_id     = aws_vpc.main.id
  cidr_block = "10.21.7.0/24"
  depends_on = [aws_vpc_ipv4_cidr_block_association.more]
}

resource "aws_internet_gateway" "main" {
  vpc_id = aws_vpc.main.id
}

resource "aws_route_table" "public" {
  vpc_id = aws_vpc.main.id
  route {
    cidr_block = "0.0.0.0/0"
    gateway_id = aws_internet_gateway.main.id
  }
}

resource "aws_route_table_association" "public" {
  count          = length(aws_subnet.public)
  subnet_id      = aws_subnet.public[count.index].id
  route_table_id = aws_route_table.public.id
}

resource "aws_route_table" "private" {
  vpc_id = aws_vpc.main.id
}

resource "aws_route" "private" {
  route_table_id         = aws_route_table.private.id
  destination_cidr_block = "198.51.100.0/24"
  gateway_id             = aws_internet_gateway.main.id
}

resource "aws_main_route_table_association" "main" {
  vpc_id         = aws_vpc.main.id
  route_table_id = aws_route_table.private.id
}

resource "aws_security_group" "inline" {
  name        = "inline"
  description = "rules inside the group"
  vpc_id      = aws_vpc.main.id
  ingress {
    description = "web"
    from_port   = 80
    to_port     = 80
    protocol    = "tcp"
    cidr_blocks = ["10.0.0.0/8", "192.168.0.0/16"]
  }
  ingress {
    from_port = 0
    to_port   = 0
    protocol  = "-1"
    self      = true
  }
  egress {
    from_port        = 0
    to_port          = 0
    protocol         = "-1"
    cidr_blocks      = ["0.0.0.0/0"]
    ipv6_cidr_blocks = ["::/0"]
  }
}

resource "aws_security_group" "apart" {
  name_prefix = "apart-"
  vpc_id      = aws_vpc.main.id
}

resource "aws_vpc_security_group_ingress_rule" "cidr" {
  security_group_id = aws_security_group.apart.id
  description       = "%(description)s"
  cidr_ipv4         = "10.0.0.0/8"
  ip_protocol       = "tcp"
  from_port         = 443
  to_port           = 443
  tags              = { Name = "https" }
}

resource "aws_vpc_security_group_ingress_rule" "group" {
  security_group_id            = aws_security_group.apart.id
  referenced_security_group_id = aws_security_group.inline.id
  ip_protocol                  = "icmp"
  from_port                    = 8
  to_port                      = 0
}

resource "aws_vpc_security_group_egress_rule" "all" {
  security_group_id = aws_security_group.apart.id
  cidr_ipv4         = "0.0.0.0/0"
  ip_protocol       = "-1"
}

resource "aws_security_group" "old" {
  name   = "old"
  vpc_id = aws_vpc.main.id
}

resource "aws_security_group_rule" "old" {
  security_group_id = aws_security_group.old.id
  type              = "ingress"
  protocol          = "udp"
  from_port         = 53
  to_port           = 53
  cidr_blocks       = ["10.20.0.0/16"]
}

resource "aws_network_interface" "main" {
  subnet_id       = aws_subnet.public[0].id
  private_ips     = ["10.20.0.50"]
  security_groups = [aws_security_group.inline.id]
  description     = "by hand"
}

resource "aws_eip" "main" {
  domain = "vpc"
}

resource "aws_eip_association" "main" {
  allocation_id        = aws_eip.main.id
  network_interface_id = aws_network_interface.main.id
  depends_on           = [aws_internet_gateway.main]
}

data "aws_route_table" "public" {
  subnet_id  = aws_subnet.public[0].id
  depends_on = [aws_route_table_association.public]
}

output "seen" {
  value = {
    zones   = data.aws_availability_zones.here.names
    region  = data.aws_region.here.name
    default = length(data.aws_subnets.default.ids)
    route   = data.aws_route_table.public.routes
    address = aws_eip.main.public_ip
    dns     = aws_eip.main.public_dns
  }
}
"""


@pytest.fixture
def terraform(tmp_path: Path) -> Terraform:
    return install(tmp_path)


def left(cloudlet: Cloudlet) -> dict[str, int]:
    """How much of what the configuration makes is there, the default VPC's apart."""
    ec2 = cloudlet.client("ec2")
    mine: list[Any] = [{"Name": "tag:made_by", "Values": ["terraform"]}]
    return {
        "vpcs": len(ec2.describe_vpcs(Filters=mine)["Vpcs"]),
        "subnets": len(ec2.describe_subnets(Filters=mine)["Subnets"]),
        "groups": len(ec2.describe_security_groups(Filters=mine)["SecurityGroups"]),
        "interfaces": len(ec2.describe_network_interfaces(Filters=mine)["NetworkInterfaces"]),
        "addresses": len(ec2.describe_addresses(Filters=mine)["Addresses"]),
        "gateways": len(ec2.describe_internet_gateways(Filters=mine)["InternetGateways"]),
    }


def test_apply_an_empty_plan_and_destroy(terraform: Terraform, cloudlet: Cloudlet) -> None:
    terraform.write(PROVIDER % {"url": cloudlet.url, "skips": SKIPS} + NETWORK % {"description": "from inside"})
    terraform("init", "-input=false")
    terraform.settle()
    seen = terraform.output("seen")
    assert seen["zones"] == [f"us-east-1{letter}" for letter in "abcdef"]
    assert (seen["region"], seen["default"]) == ("us-east-1", 6)
    assert [route["cidr_block"] for route in seen["route"]] == ["0.0.0.0/0"]
    assert seen["dns"] == f"ec2-{seen['address'].replace('.', '-')}.compute-1.amazonaws.com"
    assert left(cloudlet) == {"vpcs": 1, "subnets": 3, "groups": 3, "interfaces": 1, "addresses": 1, "gateways": 1}
    terraform("destroy", "-auto-approve", "-input=false")
    assert set(left(cloudlet).values()) == {0}


@pytest.mark.slow
def test_configured_as_for_aws_and_changed(terraform: Terraform, cloudlet: Cloudlet) -> None:
    provider = PROVIDER % {"url": cloudlet.url, "skips": ""}
    terraform.write(provider + NETWORK % {"description": "from inside"})
    terraform("init", "-input=false")
    terraform.settle()
    terraform.write(provider + NETWORK % {"description": "from elsewhere"})
    assert "1 to change" in terraform("plan", "-detailed-exitcode", "-input=false", expect=2)
    terraform.settle()
    terraform("destroy", "-auto-approve", "-input=false")
    assert set(left(cloudlet).values()) == {0}


ADDRESSES = """
resource "aws_vpc" "main" { cidr_block = "10.30.0.0/16" }
resource "aws_internet_gateway" "main" { vpc_id = aws_vpc.main.id }
resource "aws_subnet" "main" {
  vpc_id     = aws_vpc.main.id
  cidr_block = "10.30.0.0/24"
}

resource "aws_network_interface" "named" {
  subnet_id   = aws_subnet.main.id
  private_ips = [%(named)s]
}

resource "aws_subnet" "apart" {
  vpc_id     = aws_vpc.main.id
  cidr_block = "10.30.1.0/24"
}

resource "aws_network_interface" "counted" {
  subnet_id         = aws_subnet.apart.id # where what is drawn is none of the addresses that others ask for
  private_ips_count = %(count)s
}

resource "aws_network_interface" "listed" {
  subnet_id               = aws_subnet.main.id
  private_ip_list_enabled = true
  private_ip_list         = ["10.30.0.30", "10.30.0.31"]
}

resource "aws_eip" "named" {
  count                     = 2
  domain                    = "vpc"
  network_interface         = aws_network_interface.named.id
  associate_with_private_ip = "10.30.0.1${count.index}"
  depends_on                = [aws_internet_gateway.main]
}

output "seen" {
  value = {
    named   = sort(aws_network_interface.named.private_ips)
    counted = length(aws_network_interface.counted.private_ips)
    listed  = aws_network_interface.listed.private_ip_list
    behind  = aws_eip.named[*].private_ip
  }
}
"""


@pytest.mark.slow
def test_interfaces_with_several_addresses(terraform: Terraform, cloudlet: Cloudlet) -> None:
    provider = PROVIDER % {"url": cloudlet.url, "skips": SKIPS}

    def brought(count: int, *last: int) -> dict[str, Any]:
        named = ", ".join(f'"10.30.0.{each}"' for each in last)
        terraform.write(provider + ADDRESSES % {"named": named, "count": count})
        terraform.settle()
        seen: dict[str, Any] = terraform.output("seen")
        return seen
    terraform.write(provider + ADDRESSES % {"named": "", "count": 0})
    terraform("init", "-input=false")
    first = brought(2, 10, 11, 12)
    assert first["named"] == ["10.30.0.10", "10.30.0.11", "10.30.0.12"]
    assert (first["counted"], first["listed"]) == (3, ["10.30.0.30", "10.30.0.31"])
    assert first["behind"] == ["10.30.0.10", "10.30.0.11"]
    mine: list[Any] = [{"Name": "addresses.private-ip-address", "Values": ["10.30.0.11"]}]
    (shown,) = cloudlet.client("ec2").describe_network_interfaces(Filters=mine)["NetworkInterfaces"]
    assert ["Association" in each for each in shown["PrivateIpAddresses"]] == [True, True, False]
    more = brought(4, 10, 11, 13)
    assert (more["named"], more["counted"]) == (["10.30.0.10", "10.30.0.11", "10.30.0.13"], 5)
    fewer = brought(1, 10, 11)
    assert (fewer["named"], fewer["counted"]) == (["10.30.0.10", "10.30.0.11"], 2)
    terraform("destroy", "-auto-approve", "-input=false")
    assert set(left(cloudlet).values()) == {0}
