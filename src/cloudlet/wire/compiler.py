"""From a shape of the model to what is done with its values: one method for each kind of shape."""

from abc import ABC, abstractmethod
from typing import Generic, TypeVar

from botocore.model import ListShape, MapShape, Shape, StructureShape

F = TypeVar("F")  # a function of a shape's values


class Compiler(ABC, Generic[F]):
    """Asks for a shape's kind once, for all values that come. A shape may contain itself: `_structure` must remember
    what it makes before it asks for its members."""

    def of(self, shape: Shape) -> F:
        """The function for one shape."""
        match shape:
            case StructureShape():
                return self._structure(shape)
            case ListShape():
                return self._list(shape)
            case MapShape():
                return self._map(shape)
        return self._scalar(shape)

    @abstractmethod
    def _structure(self, shape: StructureShape) -> F: ...

    @abstractmethod
    def _list(self, shape: ListShape) -> F: ...

    @abstractmethod
    def _map(self, shape: MapShape) -> F: ...

    @abstractmethod
    def _scalar(self, shape: Shape) -> F: ...
