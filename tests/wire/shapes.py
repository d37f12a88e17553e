"""Random values of AWS's shapes, and their form in botocore's hands: what the generated tests are made of."""

import datetime
import random
from typing import Any

from botocore.model import ListShape, MapShape, Shape, StringShape, StructureShape

SERVICES = ("sts", "iam", "ec2", "ecr", "ecs", "eks", "elbv2", "autoscaling", "application-autoscaling", "cloudwatch",
            "logs", "s3", "sqs", "sns", "rds", "ssm", "secretsmanager")
TEXTS = ("a", "b c", "é&=<>+%", "x.y/z", '"q"', "line\nbreak", "1;2, 3", "日本 ~!*'()", "]]>&amp;")
PLAIN = ("a", "b-c", "x.y", "Zz9")
DEPTH_MAX, NODES_MAX = 5, 60


class Values:
    """Draws values for shapes: seeded, of bounded size, and only such as the protocol can say both ways."""

    def __init__(self, seed: str, empties: bool) -> None:
        self._random = random.Random(seed)
        self._empties = empties  # whether the protocol can tell an empty list or structure from none
        self._nodes = 0

    def of(self, shape: StructureShape) -> dict[str, Any]:
        """A structure at the top."""
        self._nodes = 0
        value = self._structure(shape, 0, top=True)
        return value if self._empties else pruned(value)

    def _draw(self, shape: Shape, depth: int) -> Any:
        self._nodes += 1
        match shape:
            case StructureShape():
                return {"any": [1, "x"]} if shape.is_document_type else self._structure(shape, depth)
            case ListShape():
                count = self._random.randint(0 if self._empties else 1, 2)
                return [self._draw(shape.member, depth + 1) for _ in range(count)]
            case MapShape():
                keys = {self._text(shape.key) for _ in range(self._random.randint(1, 2))}
                return {key: self._draw(shape.value, depth + 1) for key in keys}
        return self._scalar(shape)

    def _structure(self, shape: StructureShape, depth: int, top: bool = False) -> dict[str, Any]:
        names = list(shape.members)
        if shape.is_tagged_union:
            scalars = [n for n in names if not isinstance(shape.members[n], StructureShape | ListShape)] or names
            name = self._random.choice(scalars if depth > DEPTH_MAX else names)
            return {name: self._draw(shape.members[name], depth + 1)}
        out = {}
        full = depth > DEPTH_MAX or self._nodes > NODES_MAX
        for name in names:
            member = shape.members[name]
            at = member.serialization.get("location")
            raw = name == shape.serialization.get("payload") and member.type_name in ("blob", "string")
            needed = top and (at == "uri" or raw or name in shape.required_members)
            leaf = not isinstance(member, StructureShape | ListShape | MapShape)
            if needed or (not full and self._random.random() < 0.5) or (full and leaf and not out):
                out[name] = self._draw_at(member, at, depth)
        return out

    def _draw_at(self, member: Shape, at: str | None, depth: int) -> Any:
        if at not in ("header", "headers", "uri", "querystring", "statusCode"):
            return self._draw(member, depth + 1)
        if at == "statusCode":
            return 200
        if isinstance(member, MapShape):
            return {self._random.choice(("one", "two")): self._random.choice(PLAIN)}
        if isinstance(member, ListShape):
            return [self._scalar(member.member, plain=True) for _ in range(self._random.randint(1, 2))]
        return self._scalar(member, plain=at in ("header", "statusCode"), whole=at == "header")

    def _text(self, shape: Shape, plain: bool = False) -> str:
        if isinstance(shape, StringShape) and shape.enum:
            return str(self._random.choice(shape.enum))
        return self._random.choice(PLAIN if plain else TEXTS)

    def _scalar(self, shape: Shape, plain: bool = False, whole: bool = False) -> Any:
        match shape.type_name:
            case "integer" | "long":
                return self._random.randint(-5, 100_000)
            case "float" | "double":
                return self._random.choice((0.5, -1.25, 3.0, 1e6))
            case "boolean":
                return self._random.random() < 0.5
            case "blob":
                return bytes(self._random.randrange(256) for _ in range(5))
            case "timestamp":
                seconds = float(self._random.randint(1_000_000_000, 1_900_000_000))
                coarse = whole or plain or shape.serialization.get("timestampFormat") == "rfc822"
                return seconds + (0 if coarse else self._random.choice((0, 0.25)))
        return self._text(shape, plain)


def pruned(value: Any) -> Any:
    """Without empty lists and structures."""
    if isinstance(value, dict):
        return {key: kept for key, item in value.items() if (kept := pruned(item)) not in ({}, [])}
    if isinstance(value, list):
        return [kept for item in value if (kept := pruned(item)) not in ({}, [])]
    return value


def to_botocore(shape: Shape, value: Any) -> Any:
    """Our value as botocore takes it: times are datetimes."""
    match shape:
        case StructureShape() if not shape.is_document_type:
            return {name: to_botocore(shape.members[name], item) for name, item in value.items()}
        case ListShape():
            return [to_botocore(shape.member, item) for item in value]
        case MapShape():
            return {key: to_botocore(shape.value, item) for key, item in value.items()}
    if shape.type_name == "timestamp":
        return datetime.datetime.fromtimestamp(value, datetime.UTC)
    return value


def from_botocore(value: Any) -> Any:
    """botocore's value as ours."""
    if isinstance(value, dict):
        return {key: from_botocore(item) for key, item in value.items()}
    if isinstance(value, list):
        return [from_botocore(item) for item in value]
    return value.timestamp() if isinstance(value, datetime.datetime) else value
