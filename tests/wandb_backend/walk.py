"""Answers any GraphQL document by walking its selections over tables of fields; knows no type of W&B."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    OperationDefinitionNode,
    SelectionSetNode,
    parse,
    value_from_ast_untyped,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from tests.wandb_backend.store import Store


@dataclass(frozen=True)
class Call:
    """One field being asked for: the store it is read from, and its arguments."""

    store: Store
    args: dict[str, Any]

    def __getitem__(self, name: str) -> Any:  # noqa: ANN401 -- an argument is any JSON
        return self.args.get(name)

    @property
    def input(self) -> dict[str, Any]:
        given: dict[str, Any] = self.args["input"]
        return given


@lru_cache(maxsize=256)
def _parsed(query: str) -> DocumentNode:
    return parse(query)


def operation_of(query: str) -> tuple[str, tuple[str, ...]]:
    """The name of the document's operation, and the fields it asks for at the root."""
    operation = _operation(_parsed(query))
    roots = [node.name.value for node in operation.selection_set.selections if isinstance(node, FieldNode)]
    return operation.name.value if operation.name else roots[0], tuple(roots)


def _operation(document: DocumentNode) -> OperationDefinitionNode:
    return next(one for one in document.definitions if isinstance(one, OperationDefinitionNode))


@dataclass
class Walk:
    """The walk over one document.

    An object to walk is a dictionary with a `__typename`, or anything with a `typename` that has a table.
    A field that nobody knows answers null, and is added to `unknown`.
    """

    store: Store
    tables: Mapping[str, Mapping[str, Callable[[Any, Call], object]]]
    abstract: Mapping[str, set[str]]
    unknown: set[str]
    variables: dict[str, Any] = field(default_factory=dict)
    fragments: dict[str, FragmentDefinitionNode] = field(default_factory=dict)

    def answer(self, query: str, variables: Mapping[str, Any]) -> dict[str, Any]:
        document = _parsed(query)
        operation = _operation(document)
        for declared in operation.variable_definitions or ():
            default = value_from_ast_untyped(declared.default_value) if declared.default_value else None
            self.variables[declared.variable.name.value] = default
        self.variables.update(variables)
        self.fragments = {
            one.name.value: one for one in document.definitions if isinstance(one, FragmentDefinitionNode)
        }
        root = {"__typename": operation.operation.value.capitalize()}
        return self._object(root, [operation.selection_set])

    def _object(self, source: object, selections: Iterable[SelectionSetNode]) -> dict[str, Any]:
        typename = source["__typename"] if isinstance(source, dict) else source.typename  # type: ignore[attr-defined]
        wanted: dict[str, list[FieldNode]] = {}
        for selection in selections:
            self._collect(typename, selection, wanted)
        return {key: self._field(source, typename, nodes) for key, nodes in wanted.items()}

    def _collect(self, typename: str, selection: SelectionSetNode, wanted: dict[str, list[FieldNode]]) -> None:
        for node in selection.selections:
            if not self._included(node.directives):
                continue
            if isinstance(node, FieldNode):
                wanted.setdefault((node.alias or node.name).value, []).append(node)
                continue
            part = self.fragments[node.name.value] if isinstance(node, FragmentSpreadNode) else node
            condition = part.type_condition.name.value if part.type_condition else typename  # type: ignore[union-attr]
            if condition == typename or typename in self.abstract.get(condition, ()):
                self._collect(typename, part.selection_set, wanted)  # type: ignore[union-attr]

    def _included(self, directives: Iterable[Any] | None) -> bool:
        states = [(node.name.value, self._arguments(node).get("if")) for node in directives or ()]
        return ("include", False) not in states and ("skip", True) not in states

    def _arguments(self, node: Any) -> dict[str, Any]:  # noqa: ANN401 -- fields and directives share no base
        return {one.name.value: value_from_ast_untyped(one.value, self.variables) for one in node.arguments or ()}

    def _field(self, source: object, typename: str, nodes: list[FieldNode]) -> object:
        name = nodes[0].name.value
        known = self.tables.get(typename, {})
        if name == "__typename":
            return typename
        if isinstance(source, dict) and name in source:
            value = source[name]
        elif name in known:
            value = known[name](source, Call(self.store, self._arguments(nodes[0])))
        else:
            self.unknown.add(f"{typename}.{name}")
            value = None
        if typename == "Mutation" and isinstance(value, dict):
            value = {"__typename": f"{name[0].upper()}{name[1:]}Payload", "clientMutationId": None, **value}
        return self._value(value, [node.selection_set for node in nodes if node.selection_set])

    def _value(self, value: object, selections: list[SelectionSetNode]) -> object:
        if value is None or not selections:
            return value
        if isinstance(value, list):
            return [self._value(item, selections) for item in value]
        return self._object(value, selections)
