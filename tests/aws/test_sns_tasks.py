"""A task is subscribed at its public address: the security group decides whether it is told."""

import json
import re

import pytest

from tests.aws.test_ecs import Customer, awslogs, until
from tests.running import Cloudlet

pytestmark = [pytest.mark.root, pytest.mark.engine("podman")]

# A web server of one line: it says what it is sent.
SERVER = ("while true; do printf 'HTTP/1.1 200 OK\\r\\nContent-Length: 0\\r\\n\\r\\n' | /bin/busybox nc -l -p 80;"
          " echo; done")


def test_a_task_is_told(cloudlet: Cloudlet) -> None:
    customer, sns = Customer(cloudlet), cloudlet.client("sns")
    group = customer.ec2.create_security_group(GroupName="hooks", Description="web")["GroupId"]
    customer.register("hook", awslogs("/bin/busybox", "sh", "-c", SERVER))
    task = customer.run("hook", networkConfiguration=customer.network(assignPublicIp="ENABLED", securityGroups=[group]))
    (attachment,) = customer.runs(task)["attachments"]
    card = next(each["value"] for each in attachment["details"] if each["name"] == "networkInterfaceId")
    (found,) = customer.ec2.describe_network_interfaces(NetworkInterfaceIds=[card])["NetworkInterfaces"]
    name = found["Association"]["PublicDnsName"]
    topic = sns.create_topic(Name="hooks")["TopicArn"]
    retries = {"healthyRetryPolicy": {"numRetries": 60, "minDelayTarget": 1, "maxDelayTarget": 1}}
    sns.subscribe(TopicArn=topic, Protocol="http", Endpoint=f"http://{name}/in", ReturnSubscriptionArn=True,
                  Attributes={"DeliveryPolicy": json.dumps(retries)})
    customer.ec2.authorize_security_group_ingress(
        GroupId=group, IpProtocol="tcp", FromPort=80, ToPort=80, CidrIp="0.0.0.0/0")

    def told(text: str) -> str:
        said: str = until(lambda: next((all_of_it for all_of_it in ["\n".join(customer.lines(task))] if re.search(
            text, all_of_it)), ""), 60)
        return said
    token = re.findall(r'"Token" : "([0-9a-f]+)"', told('"Token" : '))[0]
    sns.confirm_subscription(TopicArn=topic, Token=token)
    sns.publish(TopicArn=topic, Message="hello there")
    said = told("hello there")
    assert "POST /in HTTP/1.1" in said and f"Host: {name}" in said
    customer.ecs.stop_task(cluster="c", task=task)
    customer.stops(task)
