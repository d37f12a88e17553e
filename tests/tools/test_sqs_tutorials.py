"""AWS's examples of SQS and SNS for the command line, typed as they stand there but for one's own names."""

import json
from pathlib import Path

import pytest

from tests.running import Cloudlet
from tests.tools.test_tutorials import script

pytestmark = pytest.mark.slow

# Says the endpoint to `aws sqs`, which would otherwise ask the host of a queue's URL in some versions.
SQS = """
aws() { if [ "$1" = sqs ]; then command aws --endpoint-url "$AWS_ENDPOINT_URL" "$@"; else command aws "$@"; fi; }
"""

# https://docs.aws.amazon.com/cli/latest/reference/sqs/, the examples of each command in the order of a life
QUEUES = SQS + """
DEAD=$(aws sqs create-queue --queue-name MyDeadLetterQueue --query QueueUrl --output text)
URL=$(aws sqs create-queue --queue-name MyQueue --attributes file://create-queue.json --query QueueUrl --output text)
[ "$(aws sqs get-queue-url --queue-name MyQueue --query QueueUrl --output text)" = "$URL" ]
aws sqs list-queues
aws sqs list-queues --queue-name-prefix My
aws sqs list-dead-letter-source-queues --queue-url $DEAD
aws sqs get-queue-attributes --queue-url $URL --attribute-names All
aws sqs set-queue-attributes --queue-url $URL --attributes file://set-queue-attributes.json
aws sqs add-permission --queue-url $URL --label SendMessagesFromMyQueue --aws-account-ids 123456789012 \
 --actions SendMessage
aws sqs remove-permission --queue-url $URL --label SendMessagesFromMyQueue
aws sqs tag-queue --queue-url $URL --tags Priority=Highest
aws sqs list-queue-tags --queue-url $URL
aws sqs untag-queue --queue-url $URL --tag-keys "Priority"
aws sqs send-message --queue-url $URL --message-body "Information about the largest city in Any Region." \
 --delay-seconds 1 --message-attributes file://send-message.json
aws sqs send-message-batch --queue-url $URL --entries file://send-message-batch.json
for try in 1 2 3 4; do aws sqs receive-message --queue-url $URL --attribute-names All --message-attribute-names All \
 --max-number-of-messages 10 --wait-time-seconds 5 --query 'Messages[].ReceiptHandle' --output text; done \
 | tr '\\t' '\\n' | grep -v None > handles
[ $(wc -l < handles) = 3 ]
aws sqs change-message-visibility --queue-url $URL --receipt-handle $(sed -n 1p handles) --visibility-timeout 36000
aws sqs change-message-visibility-batch --queue-url $URL --entries \
 Id=FirstMessage,ReceiptHandle=$(sed -n 2p handles),VisibilityTimeout=36000 \
 Id=SecondMessage,ReceiptHandle=$(sed -n 3p handles),VisibilityTimeout=36000
aws sqs delete-message --queue-url $URL --receipt-handle $(sed -n 1p handles)
aws sqs delete-message-batch --queue-url $URL --entries Id=FirstMessage,ReceiptHandle=$(sed -n 2p handles) \
 Id=SecondMessage,ReceiptHandle=$(sed -n 3p handles)
aws sqs purge-queue --queue-url $URL
SOURCE=$(aws sqs get-queue-attributes --queue-url $DEAD --attribute-names QueueArn --query Attributes.QueueArn \
 --output text)
TARGET=$(aws sqs get-queue-attributes --queue-url $URL --attribute-names QueueArn --query Attributes.QueueArn \
 --output text)
aws sqs send-message --queue-url $DEAD --message-body again
aws sqs start-message-move-task --source-arn $SOURCE --destination-arn $TARGET --max-number-of-messages-per-second 50
aws sqs list-message-move-tasks --source-arn $SOURCE --max-results 2
aws sqs receive-message --queue-url $URL --wait-time-seconds 20 --query 'Messages[0].Body' --output text | grep -x again
aws sqs delete-queue --queue-url $URL
aws sqs delete-queue --queue-url $DEAD
"""
REDRIVE = json.dumps({"deadLetterTargetArn": "arn:aws:sqs:us-east-1:000000000000:MyDeadLetterQueue",
                      "maxReceiveCount": "1000"})
FILES = {
    "create-queue.json": {"RedrivePolicy": REDRIVE, "MessageRetentionPeriod": "259200"},
    "set-queue-attributes.json": {
        "DelaySeconds": "1", "MaximumMessageSize": "131072", "MessageRetentionPeriod": "259200",
        "ReceiveMessageWaitTimeSeconds": "20", "RedrivePolicy": REDRIVE, "VisibilityTimeout": "60"},
    "send-message.json": {
        "City": {"DataType": "String", "StringValue": "Any City"},
        "Greeting": {"DataType": "Binary", "BinaryValue": "Hello, World!"},
        "Population": {"DataType": "Number", "StringValue": "1250800"}},
    "send-message-batch.json": [{
        "Id": f"FuelReport-000{number}-2015-09-16T140731Z", "MessageBody": f"Fuel report for account 000{number}.",
        "DelaySeconds": 1, "MessageAttributes": {
            "SellerName": {"DataType": "String", "StringValue": "Example Store"},
            "PricePerGallon": {"DataType": "Number", "StringValue": "1.99"}}} for number in (1, 2)],
}

# https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/creating-sqs-fifo-queues.html and the
# walk through a FIFO queue that AWS's own messages for developers take
ORDERED = SQS + """
URL=$(aws sqs create-queue --queue-name my-queue.fifo --attributes FifoQueue=true,ContentBasedDeduplication=true \
 --query QueueUrl --output text)
for number in 1 2 3 3; do aws sqs send-message --queue-url $URL --message-body "step $number" --message-group-id g; done
aws sqs receive-message --queue-url $URL --max-number-of-messages 10 --query 'Messages[].Body' --output text \
 | grep -Px 'step 1\\tstep 2\\tstep 3'
{ aws sqs send-message --queue-url $URL --message-body "step 4" 2>&1 || true; } \
 | grep 'MissingParameter.*The request must contain the parameter MessageGroupId.'
aws sqs delete-queue --queue-url $URL
"""

# https://docs.aws.amazon.com/cli/latest/userguide/cli-services-sns.html and AWS's tutorial for the command line
# (github.com/aws-samples/sample-developer-tutorials, 048-amazon-simple-notification-service-gs)
TOPICS = """
aws sns create-topic --name my-topic
TOPIC_ARN=$(aws sns create-topic --name my-topic --tags Key=project,Value=doc-smith --query TopicArn --output text \
 2>&1 || true)
echo "$TOPIC_ARN" | grep 'Topic already exists with different tags'
TOPIC_ARN=$(aws sns create-topic --name my-topic --query TopicArn --output text)
[[ "$TOPIC_ARN" =~ ^arn:aws:sns:[a-z0-9-]+:[0-9]{12}:[a-zA-Z0-9_-]+$ ]]
aws sns subscribe --topic-arn $TOPIC_ARN --protocol email --notification-endpoint saanvi@example.com \
 | grep 'pending confirmation'
aws sns list-subscriptions-by-topic --topic-arn $TOPIC_ARN | grep PendingConfirmation
TOKEN=$(curl -s $AWS_ENDPOINT_URL/_cloudlet/mail | grep -o 'Token=[0-9a-f]*' | tail -1 | cut -d= -f2)
SUBSCRIPTION_ARN=$(aws sns confirm-subscription --topic-arn $TOPIC_ARN --token $TOKEN --query SubscriptionArn \
 --output text)
aws sns list-subscriptions
aws sns get-subscription-attributes --subscription-arn $SUBSCRIPTION_ARN
aws sns set-topic-attributes --topic-arn $TOPIC_ARN --attribute-name DisplayName --attribute-value MyTopicDisplayName
aws sns get-topic-attributes --topic-arn $TOPIC_ARN
aws sns publish --topic-arn $TOPIC_ARN --message "Hello World!" --query MessageId --output text \
 | grep -E '^[a-f0-9]{8}-[a-f0-9]{4}-[a-f0-9]{4}-[a-f0-9]{4}-[a-f0-9]{12}$'
curl -s $AWS_ENDPOINT_URL/_cloudlet/mail | grep -q 'Hello World!'
echo "Hello from a file" > message.txt
aws sns publish --topic-arn $TOPIC_ARN --message file://message.txt
aws sns publish --message "Hello world!" --phone-number +1-555-555-0100
aws sns check-if-phone-number-is-opted-out --phone-number +1555550100
aws sns list-phone-numbers-opted-out
aws sns opt-in-phone-number --phone-number +15555550100
aws sns set-sms-attributes --attributes DefaultSenderID=MyName
aws sns get-sms-attributes | grep MyName
aws sns add-permission --topic-arn $TOPIC_ARN --label Publish-Permission --aws-account-id 987654321098 \
 --action-name Publish
aws sns remove-permission --topic-arn $TOPIC_ARN --label Publish-Permission
aws sns tag-resource --resource-arn $TOPIC_ARN --tags Key=Team,Value=Alpha
aws sns list-tags-for-resource --resource-arn $TOPIC_ARN | grep Alpha
aws sns untag-resource --resource-arn $TOPIC_ARN --tag-keys Team
aws sns unsubscribe --subscription-arn $SUBSCRIPTION_ARN
aws sns delete-topic --topic-arn $TOPIC_ARN
aws sns list-topics
"""

# https://docs.aws.amazon.com/sns/latest/dg/subscribe-sqs-queue-to-sns-topic.html and
# https://docs.aws.amazon.com/sns/latest/dg/message-filtering-apply.html
FANOUT = SQS + """
TOPIC_ARN=$(aws sns create-topic --name MyTopic --query TopicArn --output text)
QUEUE_URL=$(aws sqs create-queue --queue-name MyQueue --query QueueUrl --output text)
QUEUE_ARN=$(aws sqs get-queue-attributes --queue-url $QUEUE_URL --attribute-names QueueArn \
 --query Attributes.QueueArn --output text)
aws sqs set-queue-attributes --queue-url $QUEUE_URL --attributes file://policy.json
SUBSCRIPTION_ARN=$(aws sns subscribe --topic-arn $TOPIC_ARN --protocol sqs --notification-endpoint $QUEUE_ARN \
 --query SubscriptionArn --output text)
aws sns set-subscription-attributes --subscription-arn $SUBSCRIPTION_ARN --attribute-name FilterPolicy \
 --attribute-value "{\\"store\\":[\\"example_corp\\"],\\"event\\":[\\"order_placed\\"]}"
aws sns set-subscription-attributes --subscription-arn $SUBSCRIPTION_ARN --attribute-name RawMessageDelivery \
 --attribute-value true
aws sns publish --topic-arn $TOPIC_ARN --message "not for you" \
 --message-attributes '{"store": {"DataType": "String", "StringValue": "other"}}'
aws sns publish --topic-arn $TOPIC_ARN --message "order 1" --message-attributes '{"store": {"DataType": "String",
 "StringValue": "example_corp"}, "event": {"DataType": "String", "StringValue": "order_placed"}}'
aws sqs receive-message --queue-url $QUEUE_URL --wait-time-seconds 5 --max-number-of-messages 10 \
 --message-attribute-names All --query 'Messages[].Body' --output text | grep -x "order 1"
{ aws sns set-subscription-attributes --subscription-arn $SUBSCRIPTION_ARN --attribute-name FilterPolicy \
 --attribute-value '{"store": "example_corp"}' 2>&1 || true; } | grep 'InvalidParameter.*must be an object or an array'
aws sns delete-topic --topic-arn $TOPIC_ARN
aws sqs delete-queue --queue-url $QUEUE_URL
"""
POLICY = {"Version": "2012-10-17", "Statement": [{
    "Effect": "Allow", "Principal": {"Service": "sns.amazonaws.com"}, "Action": "sqs:SendMessage",
    "Resource": "arn:aws:sqs:us-east-1:000000000000:MyQueue",
    "Condition": {"ArnEquals": {"aws:SourceArn": "arn:aws:sns:us-east-1:000000000000:MyTopic"}}}]}


def test_the_examples_of_queues(cloudlet: Cloudlet, tmp_path: Path) -> None:
    for name, content in FILES.items():
        (tmp_path / name).write_text(json.dumps(content))
    said = script(cloudlet, tmp_path, QUEUES)
    assert '"Priority": "Highest"' in said and '"Successful"' in said and said.rstrip().endswith("again")
    assert "QueueUrls" not in cloudlet.client("sqs").list_queues()


def test_a_queue_that_keeps_order(cloudlet: Cloudlet, tmp_path: Path) -> None:
    assert "step 3" in script(cloudlet, tmp_path, ORDERED)


def test_the_examples_of_topics(cloudlet: Cloudlet, tmp_path: Path) -> None:
    assert '"Topics": []' in script(cloudlet, tmp_path, TOPICS)


def test_a_topic_before_a_queue(cloudlet: Cloudlet, tmp_path: Path) -> None:
    (tmp_path / "policy.json").write_text(json.dumps({"Policy": json.dumps(POLICY)}))
    assert "order 1" in script(cloudlet, tmp_path, FANOUT)
