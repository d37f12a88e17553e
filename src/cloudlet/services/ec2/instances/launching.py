"""RunInstances: what was asked becomes instances, interfaces and volumes in one transaction; loops do the rest."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from cloudlet.kernel.call import Call
from cloudlet.kernel.condition_keys import keys_of, tag_keys
from cloudlet.kernel.names import Installation
from cloudlet.kernel.service import Input, Output
from cloudlet.services.ec2 import api, pool
from cloudlet.services.ec2.api import ec2
from cloudlet.services.ec2.instances import capacity, profiles
from cloudlet.services.ec2.instances.cards import Card, make_card, read_cards
from cloudlet.services.ec2.instances.orders import Order, read_order
from cloudlet.services.ec2.instances.records import Instance, MetadataOptions, Reservation
from cloudlet.services.ec2.instances.views import reservation_view
from cloudlet.services.ec2.keypairs import find_key_pair
from cloudlet.services.ec2.nouns import find
from cloudlet.services.ec2.records import Vpc
from cloudlet.services.ec2.storage.image_aliases import PREFIX
from cloudlet.services.ec2.storage.images import image_for_launch
from cloudlet.services.ec2.storage.mappings import volumes_for
from cloudlet.services.ec2.storage.records import Image
from cloudlet.services.ec2.tags import tags_by_type
from cloudlet.services.ec2.templates import with_template
from cloudlet.services.iam import refusal
from cloudlet.store.db import Tx

_MADE = "instance", "volume", "network-interface"


def _resources(call: Call, request: Input) -> Iterable[str]:
    """What the caller must be allowed to use and to make.

    https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonec2.html
    """
    for kind in _MADE:
        yield call.arn("ec2", f"{kind}/*")
    template = request.get("LaunchTemplate") or {}
    if template:
        yield call.arn("ec2", f"launch-template/{template.get('LaunchTemplateId') or '*'}")
    image = request.get("ImageId") or ""
    if image or not template:
        named = image and not image.startswith(PREFIX)  # by a parameter: only who may launch any, as it may change
        yield f"arn:aws:ec2:{call.region}::image/{image if named else '*'}"
    if request.get("KeyName"):
        yield call.arn("ec2", f"key-pair/{request['KeyName']}")
    cards = request.get("NetworkInterfaces") or ()
    yield from (call.arn("ec2", f"subnet/{id}") for id in dict.fromkeys(
        [request.get("SubnetId"), *(card.get("SubnetId") for card in cards)]) if id)
    groups = [*(request.get("SecurityGroupIds") or ()), *(id for card in cards for id in card.get("Groups") or ())]
    yield from (call.arn("ec2", f"security-group/{id}") for id in dict.fromkeys(groups))
    yield from (call.arn("ec2", f"network-interface/{card['NetworkInterfaceId']}") for card in cards
                if card.get("NetworkInterfaceId"))


@ec2.write(resources=_resources, context=lambda call, request: {"ec2:instancetype": request.get("InstanceType")})
def run_instances(call: Call, tx: Tx, request: Input) -> Output:
    """Launches between MinCount and MaxCount instances, as many as there is room for."""
    asked = request
    request, origin = with_template(tx, call, asked)
    _permit_tags_of_template(tx, call, asked, request)
    order = read_order(call, request)
    tags = tags_by_type(request, *_MADE)
    image = image_for_launch(tx, call, api.require(request, "ImageId"))
    cards = read_cards(tx, call, request, order.type, order.zone)
    zone = cards[0].subnet.zone
    count = capacity.room(tx, call, order.type, zone, order.count_min, order.count_max)
    reservation = Reservation(f"r-{tx.token(17)}")
    template = _template(tx, call, request, order, image, cards, reservation)
    vpc = find(tx, call, Vpc, template.vpc_id)
    tags["instance"] |= origin
    made = [_launch(tx, call, replace(template, launch_index=index, tags=tags["instance"]), vpc, cards, image,
                    request.get("BlockDeviceMappings"), tags) for index in range(count)]
    return reservation_view(tx, made, reservation)


def _permit_tags_of_template(tx: Tx, call: Call, asked: Input, merged: Input) -> None:
    """Tags that only the template names must be allowed like those of the request, which the door has asked about.

    https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/supported-iam-actions-tagging.html
    """
    def keys() -> Mapping[str, tuple[str, ...]]:
        return tag_keys(merged) | keys_of({"ec2:CreateAction": "RunInstances", "ec2:Region": call.region})

    for kind in api.tagged(merged):
        if kind not in api.tagged(asked):
            api.permit(refusal(tx, call, "ec2:CreateTags", call.arn("ec2", f"{kind}/*"), keys))


def _template(tx: Tx, call: Call, request: Input, order: Order, image: Image, cards: tuple[Card, ...],
              reservation: Reservation) -> Instance:
    """What the instances of a launch have in common; without an id, a key and a place in the launch."""
    pair = find_key_pair(tx, call, request["KeyName"]) if request.get("KeyName") else None
    primary = cards[0]
    return Instance(
        "", "", call.account, call.region, order.type.name, image.id, primary.subnet.vpc_id, primary.subnet.id,
        primary.subnet.zone, image.root_device, tx.now, tx.now, 0, reservation,
        key_name=pair.name if pair else "", public_key=f"{pair.public} {pair.name}" if pair else "",
        user_data=order.user_data, profile=profiles.associated(tx, call, request.get("IamInstanceProfile")),
        metadata=_metadata(order, image, request), shutdown_behavior=order.shutdown_behavior,
        termination_protection=order.termination_protection, stop_protection=order.stop_protection,
        auto_recovery=order.auto_recovery,
        monitoring=order.monitoring, ebs_optimized=order.ebs_optimized, credits=order.credits,
        client_token=request.get("ClientToken") or "", public=primary.public)


def _metadata(order: Order, image: Image, request: Input) -> MetadataOptions:
    """An image may say that its instances want tokens, and then answers travel one hop further, unless the launch says
    otherwise: https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instance-metadata-options-order-of-precedence.html"""
    given, options = request.get("MetadataOptions") or {}, order.metadata
    if not image.imds_v2:
        return options
    return replace(options, tokens=options.tokens if given.get("HttpTokens") else "required",
                   hop_limit=options.hop_limit if given.get("HttpPutResponseHopLimit") else 2)


def _launch(tx: Tx, call: Call, template: Instance, vpc: Vpc, cards: tuple[Card, ...], image: Image,
            mappings: Any, tags: dict[str, dict[str, str]]) -> Instance:
    id = f"i-{tx.token(17)}"
    profile = template.profile and replace(template.profile, id=f"iip-assoc-{tx.token(17)}")
    key = f"{call.scope}/{id}"
    machine = Installation(pool.ground(tx).installation).name("vm", key)
    instance = replace(template, key=key, id=id, machine=machine, profile=profile)
    for card in cards:
        make_card(tx, call, instance, vpc, card, tags["network-interface"])
    volumes_for(tx, call, image=image, mappings=mappings, zone=instance.zone, tags=tags["volume"], instance_id=id)
    tx.put(instance)
    return instance
