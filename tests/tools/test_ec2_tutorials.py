"""AWS's tutorials of the command line for EC2, EBS and VPC, changed only where a name or an image is one's own."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import running_cloudlet
from tests.debian import image, stock
from tests.running import Cloudlet
from tests.tools.test_tutorials import script

pytestmark = [pytest.mark.root, pytest.mark.engine("qemu-system-x86_64"), pytest.mark.engine("ssh"),
              pytest.mark.slow]

# Logs in as soon as somebody listens: $1 is the address, the rest the command.
SSH = """
inside() { where=$1; shift
 for try in $(seq 150); do
  if ssh -i $KEY -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o BatchMode=yes -o ConnectTimeout=5 \
   -o LogLevel=ERROR admin@$where true 2>/dev/null; then break; fi; sleep 1; done
 ssh -i $KEY -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o BatchMode=yes -o LogLevel=ERROR \
  admin@$where "$@"; }
"""

# https://docs.aws.amazon.com/cli/latest/userguide/cli-services-ec2.html
LAUNCH = """
aws ec2 create-key-pair --key-name MyKeyPair --query 'KeyMaterial' --output text > MyKeyPair.pem
chmod 400 MyKeyPair.pem
aws ec2 describe-key-pairs --key-name MyKeyPair --query 'KeyPairs[0].KeyName' --output text
GROUP=$(aws ec2 create-security-group --group-name my-sg --description "My security group" \
 --query GroupId --output text)
aws ec2 authorize-security-group-ingress --group-id $GROUP --protocol tcp --port 22 --cidr 0.0.0.0/0
aws ec2 describe-security-groups --group-ids $GROUP
IMAGE=$(aws ec2 describe-images --owners 136693071363 --filters "Name=name,Values=debian-12-amd64-*" \
 "Name=state,Values=available" --query 'reverse(sort_by(Images, &CreationDate))[:1].ImageId' --output text)
ID=$(aws ec2 run-instances --image-id $IMAGE --count 1 --instance-type t3.nano --key-name MyKeyPair \
 --security-group-ids $GROUP --query 'Instances[0].InstanceId' --output text)
aws ec2 create-tags --resources $ID --tags Key=Name,Value=MyInstance
aws ec2 wait instance-running --instance-ids $ID
aws ec2 describe-instances --filters "Name=tag:Name,Values=MyInstance" "Name=instance-type,Values=t3.nano" \
 --query "Reservations[].Instances[].InstanceId" --output text | grep -x $ID
ADDRESS=$(aws ec2 describe-instances --instance-ids $ID --query 'Reservations[0].Instances[0].PublicIpAddress' \
 --output text)
KEY=MyKeyPair.pem
inside $ADDRESS 'uname -s; whoami'
aws ec2 wait instance-status-ok --instance-ids $ID
aws ec2 describe-instance-status --instance-ids $ID
echo id=$ID; echo group=$GROUP; echo image=$IMAGE; echo address=$ADDRESS
"""

# https://docs.aws.amazon.com/ebs/latest/userguide/ebs-creating-volume.html, ebs-attaching-volume.html,
# ebs-using-volumes.html, ebs-create-snapshot.html
VOLUMES = """
ZONE=$(aws ec2 describe-instances --instance-ids $ID \
 --query 'Reservations[0].Instances[0].Placement.AvailabilityZone' --output text)
VOLUME=$(aws ec2 create-volume --volume-type gp3 --size 1 --availability-zone $ZONE --query VolumeId --output text)
aws ec2 wait volume-available --volume-ids $VOLUME
aws ec2 attach-volume --volume-id $VOLUME --instance-id $ID --device /dev/sdf
aws ec2 wait volume-in-use --volume-ids $VOLUME
SERIAL=$(echo $VOLUME | tr -d -)
DISK=/dev/$(inside $ADDRESS "for try in \\$(seq 60); do lsblk -dno NAME,SERIAL | grep $SERIAL && exit; sleep 1; done" \
 | cut -d' ' -f1)
inside $ADDRESS "sudo mkfs -t ext4 -q $DISK; sudo mkdir /data; sudo mount $DISK /data; echo kept | sudo tee /data/file;
 echo root | sudo tee /etc/mine; sudo sync"
SNAPSHOT=$(aws ec2 create-snapshot --volume-id $VOLUME --description "This is my snapshot" \
 --query SnapshotId --output text)
aws ec2 wait snapshot-completed --snapshot-ids $SNAPSHOT
inside $ADDRESS "sudo umount /data"
aws ec2 detach-volume --volume-id $VOLUME
aws ec2 wait volume-available --volume-ids $VOLUME
RESTORED=$(aws ec2 create-volume --snapshot-id $SNAPSHOT --availability-zone $ZONE --query VolumeId --output text)
aws ec2 wait volume-available --volume-ids $RESTORED
aws ec2 attach-volume --volume-id $RESTORED --instance-id $ID --device /dev/sdg
aws ec2 wait volume-in-use --volume-ids $RESTORED
SERIAL=$(echo $RESTORED | tr -d -)
inside $ADDRESS "for try in \\$(seq 60); do D=\\$(lsblk -dno NAME,SERIAL | grep $SERIAL | cut -d' ' -f1);
 [ -n \\"\\$D\\" ] && break; sleep 1; done; sudo mount /dev/\\$D /data; echo restored=\\$(cat /data/file);
 sudo umount /data"
aws ec2 detach-volume --volume-id $RESTORED
aws ec2 wait volume-available --volume-ids $RESTORED
aws ec2 delete-volume --volume-id $VOLUME
aws ec2 delete-volume --volume-id $RESTORED
aws ec2 delete-snapshot --snapshot-id $SNAPSHOT
"""

# https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/Stop_Start_Instances.html, creating-an-ami-ebs.html
LIFE = """
aws ec2 stop-instances --instance-ids $ID
aws ec2 wait instance-stopped --instance-ids $ID
MADE=$(aws ec2 create-image --instance-id $ID --name "My server" --description "An AMI for my server" \
 --query ImageId --output text)
aws ec2 wait image-available --image-ids $MADE
aws ec2 start-instances --instance-ids $ID
aws ec2 wait instance-running --instance-ids $ID
ADDRESS=$(aws ec2 describe-instances --instance-ids $ID --query 'Reservations[0].Instances[0].PublicIpAddress' \
 --output text)
echo again=$(inside $ADDRESS 'sudo cat /etc/mine')
aws ec2 terminate-instances --instance-ids $ID
aws ec2 wait instance-terminated --instance-ids $ID
COPY=$(aws ec2 run-instances --image-id $MADE --instance-type t3.nano --key-name MyKeyPair \
 --security-group-ids $GROUP --query 'Instances[0].InstanceId' --output text)
aws ec2 wait instance-running --instance-ids $COPY
ADDRESS=$(aws ec2 describe-instances --instance-ids $COPY --query 'Reservations[0].Instances[0].PublicIpAddress' \
 --output text)
echo copied=$(inside $ADDRESS 'sudo cat /etc/mine')
aws ec2 terminate-instances --instance-ids $COPY
aws ec2 wait instance-terminated --instance-ids $COPY
SNAPSHOT=$(aws ec2 describe-images --image-ids $MADE \
 --query 'Images[0].BlockDeviceMappings[0].Ebs.SnapshotId' --output text)
aws ec2 deregister-image --image-id $MADE
aws ec2 delete-snapshot --snapshot-id $SNAPSHOT
aws ec2 delete-security-group --group-id $GROUP
aws ec2 delete-key-pair --key-name MyKeyPair
"""

# https://docs.aws.amazon.com/vpc/latest/userguide/vpc-subnets-commands-example.html
NETWORK = """
VPC=$(aws ec2 create-vpc --cidr-block 10.0.0.0/16 --query Vpc.VpcId --output text)
PUBLIC=$(aws ec2 create-subnet --vpc-id $VPC --cidr-block 10.0.1.0/24 --query Subnet.SubnetId --output text)
PRIVATE=$(aws ec2 create-subnet --vpc-id $VPC --cidr-block 10.0.0.0/24 --query Subnet.SubnetId --output text)
GATEWAY=$(aws ec2 create-internet-gateway --query InternetGateway.InternetGatewayId --output text)
aws ec2 attach-internet-gateway --vpc-id $VPC --internet-gateway-id $GATEWAY
TABLE=$(aws ec2 create-route-table --vpc-id $VPC --query RouteTable.RouteTableId --output text)
aws ec2 create-route --route-table-id $TABLE --destination-cidr-block 0.0.0.0/0 --gateway-id $GATEWAY
aws ec2 describe-route-tables --route-table-id $TABLE
aws ec2 describe-subnets --filters "Name=vpc-id,Values=$VPC" --query "Subnets[*].{ID:SubnetId,CIDR:CidrBlock}"
ASSOCIATION=$(aws ec2 associate-route-table --subnet-id $PUBLIC --route-table-id $TABLE \
 --query AssociationId --output text)
aws ec2 modify-subnet-attribute --subnet-id $PUBLIC --map-public-ip-on-launch
aws ec2 create-key-pair --key-name MyKeyPair --query "KeyMaterial" --output text > VpcKeyPair.pem
chmod 400 VpcKeyPair.pem
GROUP=$(aws ec2 create-security-group --group-name SSHAccess --description "Security group for SSH access" \
 --vpc-id $VPC --query GroupId --output text)
aws ec2 authorize-security-group-ingress --group-id $GROUP --protocol tcp --port 22 --cidr 0.0.0.0/0
ID=$(aws ec2 run-instances --image-id $IMAGE --count 1 --instance-type t3.nano --key-name MyKeyPair \
 --security-group-ids $GROUP --subnet-id $PUBLIC --query 'Instances[0].InstanceId' --output text)
aws ec2 wait instance-running --instance-ids $ID
aws ec2 describe-instances --instance-id $ID \
 --query "Reservations[*].Instances[*].{State:State.Name,Address:PublicIpAddress}"
ADDRESS=$(aws ec2 describe-instances --instance-ids $ID --query 'Reservations[0].Instances[0].PublicIpAddress' \
 --output text)
KEY=VpcKeyPair.pem
echo private=$(inside $ADDRESS 'hostname -I')
aws ec2 terminate-instances --instance-ids $ID
aws ec2 wait instance-terminated --instance-ids $ID
aws ec2 delete-security-group --group-id $GROUP
aws ec2 delete-subnet --subnet-id $PUBLIC
aws ec2 delete-subnet --subnet-id $PRIVATE
aws ec2 delete-route-table --route-table-id $TABLE
aws ec2 detach-internet-gateway --internet-gateway-id $GATEWAY --vpc-id $VPC
aws ec2 delete-internet-gateway --internet-gateway-id $GATEWAY
aws ec2 delete-vpc --vpc-id $VPC
aws ec2 delete-key-pair --key-name MyKeyPair
"""


@pytest.fixture(scope="module")
def cloudlet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloudlet]:
    with stock(running_cloudlet(tmp_path_factory.mktemp("cloudlet"))) as instance:
        image(instance)
        yield instance


def said(text: str) -> dict[str, str]:
    """What a script said of the form name=value."""
    return dict(line.split("=", 1) for line in text.splitlines() if "=" in line.partition(" ")[0])


def test_launch_use_and_terminate_an_instance_with_volumes_and_an_image(cloudlet: Cloudlet, tmp_path: Path) -> None:
    told = script(cloudlet, tmp_path, SSH + LAUNCH)
    assert "Linux\nadmin\n" in told
    found = {name.upper(): value for name, value in said(told).items()} | {"KEY": "MyKeyPair.pem"}
    assert said(script(cloudlet, tmp_path, SSH + VOLUMES, **found))["restored"] == "kept"
    told = script(cloudlet, tmp_path, SSH + LIFE, **found)
    assert (said(told)["again"], said(told)["copied"]) == ("root", "root")
    assert cloudlet.client("ec2").describe_volumes()["Volumes"] == []


def test_a_vpc_with_a_public_subnet_and_an_instance_in_it(cloudlet: Cloudlet, tmp_path: Path) -> None:
    told = script(cloudlet, tmp_path, SSH + NETWORK, IMAGE=image(cloudlet))
    assert said(told)["private"].strip().startswith("10.0.1.")
