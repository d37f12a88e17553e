"""Launch templates: what RunInstances is asked, under a name, in versions.

https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/ec2-launch-templates.html
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from cloudlet.kernel.call import Call
from cloudlet.kernel.errors import AwsError
from cloudlet.kernel.filters import matching
from cloudlet.kernel.service import Input, Output, any_resource
from cloudlet.services.ec2 import api, quotas
from cloudlet.services.ec2.api import ec2
from cloudlet.services.ec2.instances.cards import interfaces_of
from cloudlet.services.ec2.instances.orders import read_order
from cloudlet.services.ec2.instances.records import Instance, LaunchTemplate, LaunchTemplateVersion
from cloudlet.services.ec2.instances.views import instance_view, surroundings
from cloudlet.services.ec2.nouns import find
from cloudlet.services.ec2.storage.image_aliases import resolve_image
from cloudlet.services.ec2.tags import tag_set, tags_for
from cloudlet.store.db import Tx

_NAME = re.compile(r"[a-zA-Z0-9().\-/_]{3,128}")
DESCRIPTION_LENGTH_MAX = 255
_SAME_IN_BOTH = {"RamDiskId": "RamdiskId"}  # what a template calls otherwise than RunInstances does


# ── Finding ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def _arns(call: Call, request: Input) -> Iterable[str]:
    return (call.arn("ec2", f"launch-template/{request.get('LaunchTemplateId') or '*'}"),)


def _named(tx: Tx, call: Call, request: Mapping[str, Any]) -> LaunchTemplate:
    """The template that a request names by id or by name."""
    id, name = request.get("LaunchTemplateId"), request.get("LaunchTemplateName")
    if id and name:
        raise api.InvalidParameterCombination("A launch template may be named by its ID or by its name, not by both.")
    if not id and not name:
        raise api.MissingParameter("Either a launch template ID or a launch template name must be specified in the "
                                   "request.")
    return _by_id(tx, call, id) if id else _by_name(tx, call, str(name))


def _by_id(tx: Tx, call: Call, id: str) -> LaunchTemplate:
    found = tx.get(LaunchTemplate, f"{call.scope}/{id}")
    if found is None:
        if not re.fullmatch(r"lt-[0-9a-f]+", id):
            raise api.InvalidTemplateMalformed(f'Invalid id: "{id}" (expecting "lt-...")')
        raise api.InvalidTemplateNotFound(f"The specified launch template, with template ID {id}, does not exist.")
    return found


def _by_name(tx: Tx, call: Call, name: str) -> LaunchTemplate:
    for found in tx.find(LaunchTemplate, name=f"{call.scope}/{name}"):
        return found
    raise api.InvalidTemplateName(f"The specified launch template, with template name {name}, does not exist.")


def _version_key(template: LaunchTemplate, number: int) -> str:
    return f"{template.key}/{number:010}"


def _number(template: LaunchTemplate, version: str) -> int:
    """`$Latest`, `$Default` or a number, as a number."""
    if version in ("$Latest", "$Default"):
        return template.latest_version if version == "$Latest" else template.default_version
    if not version.isdecimal():
        raise api.InvalidParameterValue(f"Invalid launch template version: {version}. It must be a number, $Latest or "
                                        "$Default.")
    return int(version)


def _find_version(tx: Tx, template: LaunchTemplate, version: str) -> LaunchTemplateVersion:
    number = _number(template, version)
    found = tx.get(LaunchTemplateVersion, _version_key(template, number))
    if found is None:
        raise api.InvalidTemplateVersion(f"Could not find the specified version {version} for the launch template with "
                                         f"ID {template.id}.")
    return found


def with_template(tx: Tx, call: Call, request: Input) -> tuple[Input, dict[str, str]]:
    """What RunInstances is asked, where the request's own word counts before that of the template that it names; and
    the tags that say of its instances what they were launched from."""
    named = request.get("LaunchTemplate")
    if not named:
        return request, {}
    template = _named(tx, call, named)
    version = _find_version(tx, template, named.get("Version") or "$Default")
    data = dict(version.data)
    for theirs, ours in _SAME_IN_BOTH.items():
        if theirs in data:
            data[ours] = data.pop(theirs)
    given = {name: value for name, value in request.items() if value not in (None, [], "")}
    own = {item.get("ResourceType") for item in given.get("TagSpecifications") or ()}
    tags = [*(given.get("TagSpecifications") or ()),
            *(item for item in data.get("TagSpecifications") or () if item.get("ResourceType") not in own)]
    return _with_subnet({**data, **given, "TagSpecifications": tags}, given), {
        "aws:ec2launchtemplate:id": template.id, "aws:ec2launchtemplate:version": str(version.number)}


def _with_subnet(merged: Input, given: Mapping[str, Any]) -> Input:
    """The one interface of a template that leaves its subnet open takes that of the launch."""
    cards: list[dict[str, Any]] = list(merged.get("NetworkInterfaces") or ())
    if len(cards) != 1 or not given.get("SubnetId") or "NetworkInterfaces" in given or cards[0].get("SubnetId"):
        return merged
    left = {name: value for name, value in merged.items() if name != "SubnetId"}
    return left | {"NetworkInterfaces": [cards[0] | {"SubnetId": given["SubnetId"]}]}


# ── Views ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def _view(template: LaunchTemplate) -> dict[str, Any]:
    return {"LaunchTemplateId": template.id, "LaunchTemplateName": template.name, "CreateTime": template.created,
            "CreatedBy": template.created_by, "DefaultVersionNumber": template.default_version,
            "LatestVersionNumber": template.latest_version, "Tags": tag_set(template.tags)}


def _version_view(template: LaunchTemplate, version: LaunchTemplateVersion) -> dict[str, Any]:
    view = {"LaunchTemplateId": template.id, "LaunchTemplateName": template.name, "VersionNumber": version.number,
            "CreateTime": version.created, "CreatedBy": version.created_by,
            "DefaultVersion": version.number == template.default_version, "LaunchTemplateData": version.data}
    return view | {"VersionDescription": version.description} if version.description else view


# ── Operations ───────────────────────────────────────────────────────────────────────────────────────────────────────


def _checked_data(call: Call, data: dict[str, Any]) -> dict[str, Any]:
    """What a template may hold: anything that a launch could be asked; what it could never be is refused now."""
    if not data:
        raise api.MissingParameter("The request must contain the parameter LaunchTemplateData")
    read_order(call, {"MinCount": 1, "MaxCount": 1, "InstanceType": "t3.micro", **data})
    return data


def _description(request: Input) -> str:
    text: str = request.get("VersionDescription") or ""
    if len(text) > DESCRIPTION_LENGTH_MAX:
        raise api.InvalidParameterValue(f"A version description may have {DESCRIPTION_LENGTH_MAX} characters.")
    return text


@ec2.write(resources=_arns)
def create_launch_template(call: Call, tx: Tx, request: Input) -> Output:
    """A template with its first version."""
    api.refuse(request, "Operator")
    name = request["LaunchTemplateName"]
    if not _NAME.fullmatch(name):
        raise api.error("InvalidLaunchTemplateName.MalformedException")(
            "A launch template name must be between 3 and 128 characters, and may contain letters, numbers, and the "
            "following characters: - ( ) . / _.")
    if tx.find(LaunchTemplate, name=f"{call.scope}/{name}"):
        raise api.TemplateNameTaken("Launch template name already in use.")
    if len(tx.find(LaunchTemplate, f"{call.scope}/", limit=quotas.LAUNCH_TEMPLATES)) >= quotas.LAUNCH_TEMPLATES:
        raise api.error("LaunchTemplateLimitExceeded")("The maximum number of launch templates has been reached.")
    id = f"lt-{tx.token(17)}"
    template = LaunchTemplate(f"{call.scope}/{id}", id, call.account, call.region, name, tx.now, call.principal.arn,
                              tags=tags_for(request, "launch-template"))
    tx.put(LaunchTemplateVersion(_version_key(template, 1), 1, tx.now, call.principal.arn, _description(request),
                                 _checked_data(call, request["LaunchTemplateData"])))
    tx.put(template)
    return {"LaunchTemplate": _view(template)}


@ec2.write(resources=_arns)
def create_launch_template_version(call: Call, tx: Tx, request: Input) -> Output:
    """Another version, from nothing or on top of one that is there."""
    template = _named(tx, call, request)
    count = len(tx.find(LaunchTemplateVersion, f"{template.key}/"))
    if count >= quotas.TEMPLATE_VERSIONS:
        raise api.TemplateVersionLimitExceeded("The launch template has as many versions as it may have.")
    source = request.get("SourceVersion")
    data = {**(_find_version(tx, template, source).data if source else {}), **request["LaunchTemplateData"]}
    number = template.latest_version + 1
    version = LaunchTemplateVersion(_version_key(template, number), number, tx.now, call.principal.arn,
                                    _description(request), _checked_data(call, data))
    tx.put(version)
    template = replace(template, latest_version=number)
    tx.put(template)
    view = _version_view(template, version)
    return {"LaunchTemplateVersion": _resolved(tx, call, view) if request.get("ResolveAlias") else view}


@ec2.read(resources=any_resource)
def describe_launch_templates(call: Call, tx: Tx, request: Input) -> Output:
    """Templates by id, name and filter."""
    ids, names = request.get("LaunchTemplateIds"), request.get("LaunchTemplateNames")
    templates = ([*(_by_id(tx, call, id) for id in ids or ()), *(_by_name(tx, call, name) for name in names or ())]
                 if ids or names else tx.find(LaunchTemplate, f"{call.scope}/"))
    found = matching(templates, request.get("Filters"), {
        "create-time": lambda t: None,
        "launch-template-name": lambda t: t.name,
    }, lambda t: t.tags)
    return {"LaunchTemplates": [_view(template) for template in found]}


@ec2.read(resources=any_resource)
def describe_launch_template_versions(call: Call, tx: Tx, request: Input) -> Output:
    """Versions of a template, newest first; or the latest or default ones of all templates."""
    asked = request.get("Versions")
    if request.get("LaunchTemplateId") or request.get("LaunchTemplateName"):
        template = _named(tx, call, request)
        pairs = [(template, version) for version in _chosen(tx, template, request)]
    else:
        if not asked or any(version not in ("$Latest", "$Default") for version in asked):
            raise api.MissingParameter("Either a launch template or the versions $Latest or $Default must be "
                                       "specified.")
        pairs = [(template, version) for template in tx.find(LaunchTemplate, f"{call.scope}/")
                 for version in _chosen(tx, template, request)]
    found = matching(pairs, request.get("Filters"), {
        "create-time": lambda pair: None,
        "ebs-optimized": lambda pair: pair[1].data.get("EbsOptimized"),
        "http-endpoint": lambda pair: (pair[1].data.get("MetadataOptions") or {}).get("HttpEndpoint"),
        "http-tokens": lambda pair: (pair[1].data.get("MetadataOptions") or {}).get("HttpTokens"),
        "iam-instance-profile": lambda pair: (pair[1].data.get("IamInstanceProfile") or {}).get("Arn"),
        "image-id": lambda pair: pair[1].data.get("ImageId"),
        "instance-type": lambda pair: pair[1].data.get("InstanceType"),
        "is-default-version": lambda pair: pair[1].number == pair[0].default_version,
        "kernel-id": lambda pair: None,
        "ram-disk-id": lambda pair: None,
    })
    shown = [_version_view(*pair) for pair in found]
    return {"LaunchTemplateVersions": [_resolved(tx, call, each) for each in shown]
            if request.get("ResolveAlias") else shown}


def _resolved(tx: Tx, call: Call, view: dict[str, Any]) -> dict[str, Any]:
    """A version whose image is told by its id, where it is named by a parameter."""
    data = view["LaunchTemplateData"]
    if not data.get("ImageId"):
        return view
    return view | {"LaunchTemplateData": data | {"ImageId": resolve_image(tx, call, data["ImageId"])}}


def _chosen(tx: Tx, template: LaunchTemplate, request: Input) -> list[LaunchTemplateVersion]:
    """The versions that a request asks for."""
    asked, low, high = request.get("Versions"), request.get("MinVersion"), request.get("MaxVersion")
    if asked and (low or high):
        raise api.InvalidParameterCombination("Versions may not be used with MinVersion or MaxVersion.")
    if asked:
        numbers = dict.fromkeys(_find_version(tx, template, version).number for version in asked)
        return [_find_version(tx, template, str(number)) for number in numbers]
    first = _number(template, low) if low else 0
    last = _number(template, high) if high else template.latest_version
    return sorted((v for v in tx.find(LaunchTemplateVersion, f"{template.key}/") if first <= v.number <= last),
                  key=lambda v: -v.number)


@ec2.write(resources=_arns)
def modify_launch_template(call: Call, tx: Tx, request: Input) -> Output:
    """Chooses the default version."""
    template = _named(tx, call, request)
    version = _find_version(tx, template, api.require(request, "DefaultVersion"))
    template = replace(template, default_version=version.number)
    tx.put(template)
    return {"LaunchTemplate": _view(template)}


@ec2.write(resources=_arns)
def delete_launch_template(call: Call, tx: Tx, request: Input) -> Output:
    """Deletes a template with all its versions; instances launched from it stay as they are."""
    template = _named(tx, call, request)
    for version in tx.find(LaunchTemplateVersion, f"{template.key}/"):
        tx.delete(LaunchTemplateVersion, version.key)
    tx.delete(LaunchTemplate, template.key)
    return {"LaunchTemplate": _view(template)}


@ec2.write(resources=_arns)
def delete_launch_template_versions(call: Call, tx: Tx, request: Input) -> Output:
    """Deletes versions other than the default one, each for itself."""
    template = _named(tx, call, request)
    done: list[dict[str, Any]] = []
    failed: list[dict[str, Any]] = []
    for asked in request["Versions"]:
        told: dict[str, Any] = {"LaunchTemplateId": template.id, "LaunchTemplateName": template.name}
        try:
            version = _find_version(tx, template, asked)
        except AwsError as error:
            known = "launchTemplateVersionDoesNotExist"
            number = {"VersionNumber": int(asked)} if asked.isdecimal() else {}
            failed.append({**told, **number, "ResponseError": {"Code": known, "Message": error.message}})
            continue
        told["VersionNumber"] = version.number
        if version.number == template.default_version:
            failed.append({**told, "ResponseError": {
                "Code": "operationNotPermitted",
                "Message": "The default version of a launch template cannot be deleted."}})
            continue
        tx.delete(LaunchTemplateVersion, version.key)
        done.append(told)
    return {"SuccessfullyDeletedLaunchTemplateVersions": done, "UnsuccessfullyDeletedLaunchTemplateVersions": failed}


@ec2.read(resources=lambda call, request: (call.arn("ec2", f"instance/{request['InstanceId']}"),))
def get_launch_template_data(call: Call, tx: Tx, request: Input) -> Output:
    """What a launch would be asked to make another instance like this one."""
    instance = find(tx, call, Instance, request["InstanceId"])
    view = instance_view(instance, surroundings(tx, [instance]))
    data: dict[str, Any] = {
        "ImageId": instance.image_id, "InstanceType": instance.type, "EbsOptimized": instance.ebs_optimized,
        "Placement": {"AvailabilityZone": instance.zone, "GroupName": "", "Tenancy": "default"},
        "DisableApiTermination": instance.termination_protection, "DisableApiStop": instance.stop_protection,
        "InstanceInitiatedShutdownBehavior": instance.shutdown_behavior,
        "Monitoring": {"Enabled": instance.monitoring},
        "BlockDeviceMappings": [
            {"DeviceName": item["DeviceName"], "Ebs": {"DeleteOnTermination": item["Ebs"]["DeleteOnTermination"]}}
            for item in view["BlockDeviceMappings"]],
        "NetworkInterfaces": [
            {"DeviceIndex": i.attachment.device_index, "SubnetId": i.subnet_id, "Groups": list(i.groups),
             "DeleteOnTermination": i.attachment.delete_on_termination, "Description": i.description,
             "PrivateIpAddresses": [{"Primary": each.ip == i.private_ip, "PrivateIpAddress": each.ip}
                                    for each in i.addresses],
             "AssociatePublicIpAddress": i.public_ip is not None}
            for i in interfaces_of(tx, instance.id) if i.attachment],
        "MaintenanceOptions": view["MaintenanceOptions"],
        "MetadataOptions": {name: value for name, value in view["MetadataOptions"].items() if name != "State"},
    }
    if instance.key_name:
        data["KeyName"] = instance.key_name
    if instance.user_data:
        data["UserData"] = instance.user_data
    if instance.profile:
        data["IamInstanceProfile"] = {"Arn": instance.profile.arn}
    if instance.credits:
        data["CreditSpecification"] = {"CpuCredits": instance.credits}
    if instance.tags:
        data["TagSpecifications"] = [{"ResourceType": "instance", "Tags": tag_set(instance.tags)}]
    return {"LaunchTemplateData": data}
