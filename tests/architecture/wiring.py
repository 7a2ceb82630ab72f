"""Compare the arguments of the container's providers with the annotations of what they call.

dependency-injector passes whatever it is given, and mypy does not look inside `Singleton(cls, *args)`. So each argument
is checked here: the type of a provider is the return annotation of what it calls, the type of `settings.provided.x` is
the annotation of the field, and a plain value has its own type.
"""

import ast
import inspect
import sys
import types
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias, TypeVar, Union, get_args, get_origin, get_type_hints

from dependency_injector import containers, providers

Hint: TypeAlias = Any
"""An annotation: a class, a union, a callable type …; or `Value`, `Factory` and `UNKNOWN` of this module."""
Argument: TypeAlias = Any
"""A provider or a plain value."""

UNKNOWN: Final = object()
"""The type of an argument that nothing annotates. Such an argument is a problem too."""


class Value:
    """The type of one plain value."""

    def __init__(self, value: object) -> None:
        self.value = value

    def __repr__(self) -> str:
        return repr(self.value)


class Factory:
    """The type of `x.provider`: a callable without arguments that returns what `x` provides."""

    def __init__(self, returned: object) -> None:
        self.returned = returned

    def __repr__(self) -> str:
        return f"Callable[[], {_shown(self.returned)}]"


def problems(container: type[containers.DeclarativeContainer]) -> list[str]:
    """Return a sentence for each argument of a provider that does not fit the parameter it is passed to."""
    found: list[str] = []
    named = list(container.providers.values())
    for name, provider in container.providers.items():
        for called in _callables(provider, named):
            found += [f"{name}: {problem}" for problem in _problems_of(called)]
    return found


def _callables(provider: Argument, named: list[Argument]) -> Iterator[Argument]:
    """Yield a provider that calls something, and those in its arguments that have no name of their own."""
    if isinstance(provider, providers.BaseSingleton | providers.Factory | providers.Callable):
        yield provider
        for argument in (*provider.args, *provider.kwargs.values()):
            if argument not in named:
                yield from _callables(argument, named)


def _problems_of(provider: Argument) -> Iterator[str]:
    called = provider.provides
    hints = hints_of(called)
    try:
        bound = inspect.signature(called).bind(*provider.args, **provider.kwargs)
    except TypeError as error:
        yield f"{called.__qualname__}: {error}"
        return
    for parameter, argument in bound.arguments.items():
        given, wanted = type_of(argument), hints.get(parameter, UNKNOWN)
        if given is UNKNOWN or wanted is UNKNOWN or not fits(given, wanted):
            yield f"{called.__qualname__}({parameter}: {_shown(wanted)}) gets {_shown(given)}"


def type_of(argument: Argument) -> Hint:
    """Return the static type of an argument of a provider."""
    match argument:
        case providers.Delegate():
            found: Hint = Factory(type_of(argument.provides))
        case providers.AttributeGetter():
            found = _attribute_type(type_of(argument.provides), str(argument.name))
        case providers.ProvidedInstance():
            found = type_of(argument.provides)
        case providers.Object():
            found = Value(argument())
        case providers.Dependency():
            found = argument.instance_of
        case providers.BaseSingleton() | providers.Factory() | providers.Callable():
            called: Argument = argument.provides
            found = called if isinstance(called, type) else hints_of(called).get("return", UNKNOWN)
        case _:
            found = Value(argument)
    return found


def _attribute_type(owner: Hint, name: str) -> Hint:
    found = inspect.getattr_static(owner, name, None)
    if isinstance(found, property) and found.fget is not None:
        return hints_of(found.fget).get("return", UNKNOWN)
    return get_type_hints(owner).get(name, UNKNOWN)


def hints_of(called: Argument) -> dict[str, Any]:
    """Return the resolved annotations of a function, or of the constructor of a class."""
    function: Argument = vars(called).get("__init__", called) if isinstance(called, type) else called
    if not inspect.isfunction(function):
        return {}
    return get_type_hints(function, localns=_imported_for_types(function.__module__))


def _imported_for_types(module: str) -> dict[str, Any]:
    """Import the names that a module imports for type checkers only."""
    file = sys.modules[module].__file__
    assert file is not None
    names: dict[str, Any] = {}
    for node in ast.parse(Path(file).read_text("utf-8")).body:
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            for imported in node.body:
                if isinstance(imported, ast.ImportFrom) and imported.module is not None:
                    found = import_module(imported.module)
                    names |= {each.asname or each.name: getattr(found, each.name) for each in imported.names}
    return names


# --- Whether a type fits another --------------------------------------------------------------------------------------


def fits(given: Hint, wanted: Hint) -> bool:
    """Return whether a value of type `given` may be passed where `wanted` is annotated."""
    if wanted is Any or given is Any or isinstance(wanted, TypeVar):
        return True
    wanted = getattr(wanted, "__supertype__", wanted)  # Of a NewType.
    if _origin(wanted) in (Union, types.UnionType):
        return all(any(fits(each, option) for option in get_args(wanted)) for each in _options(given))
    if len(_options(given)) > 1:
        return all(fits(each, wanted) for each in _options(given))
    return _one_fits(given, wanted)


def _one_fits(given: Hint, wanted: Hint) -> bool:
    if isinstance(given, Value):
        return _value_fits(given.value, wanted)
    if isinstance(given, Factory):
        return _is_callable(wanted) and (not get_args(wanted) or fits(given.returned, get_args(wanted)[1]))
    return _class_fits(_origin(given) or given, _origin(wanted) or wanted)


def _origin(hint: Hint) -> Hint:
    found: Hint = get_origin(hint)
    return found


def _options(given: Hint) -> tuple[Any, ...]:
    if _origin(given) in (Union, types.UnionType):
        return get_args(given)
    if _origin(given) is Literal:
        return tuple(Value(each) for each in get_args(given))
    return (given,)


def _value_fits(value: Argument, wanted: Hint) -> bool:
    if _origin(wanted) is Literal:
        return value in get_args(wanted)
    if wanted is None:
        return value is None
    if _is_callable(wanted):
        return callable(value) and _takes(value, get_args(wanted))
    return _class_fits(type(value), _origin(wanted) or wanted) or (callable(value) and _is_callback(wanted))


def _is_callback(wanted: Hint) -> bool:
    """Return whether an annotation is a protocol of a function."""
    return getattr(wanted, "_is_protocol", False) and "__call__" in vars(wanted)


def _is_callable(wanted: Hint) -> bool:
    return _origin(wanted) is Callable or wanted is Callable


def _takes(value: Argument, parameters: tuple[Any, ...]) -> bool:
    """Return whether a callable takes as many positional arguments as `Callable[[…], …]` says."""
    if not parameters or parameters[0] is Ellipsis:
        return True
    try:
        inspect.signature(value).bind(*parameters[0])
    except TypeError:
        return False
    return True


def _class_fits(given: Hint, wanted: Hint) -> bool:
    if not isinstance(given, type) or not isinstance(wanted, type):
        return given is wanted
    if wanted is float and given is int:
        return True
    if getattr(wanted, "_is_protocol", False) and wanted not in given.__mro__:
        return all(hasattr(given, member) or member in get_type_hints(given) for member in _members(wanted))
    return wanted in given.__mro__ or (not getattr(wanted, "_is_protocol", False) and issubclass(given, wanted))


def _members(protocol: Hint) -> set[str]:
    named = {name for each in protocol.__mro__ if getattr(each, "_is_protocol", False) for name in vars(each)}
    declared = {name for each in protocol.__mro__ for name in getattr(each, "__annotations__", {})}
    return {name for name in named | declared if not name.startswith("_") or name == "__call__"}


def _shown(given: Hint) -> str:
    return "unannotated" if given is UNKNOWN else given.__qualname__ if isinstance(given, type) else repr(given)
