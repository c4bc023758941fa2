"""What all sections of a job have in common."""

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import PydanticCustomError

from hpcrefine.errors import InputError

Place = str | tuple[str | int, ...]


class Section(BaseModel):
    """Frozen; takes no unknown keys, no infinities, and no value of another type."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


def rule(place: Place, expected: str, found: object = None) -> PydanticCustomError:
    """Report a broken rule, for jobfile.

    Parameters
    ----------
    place : str or tuple
        The key that breaks it, or the way to it; empty for the field itself.
    expected : str
        What would do.
    found : object
        The value, where it is not what the file has at that place.
    """
    keys = (place,) if isinstance(place, str) else place
    return PydanticCustomError(
        "rule", "{expected}", {"keys": keys if place else (), "expected": expected, "found": found}
    )


def refusal(error: InputError) -> PydanticCustomError:
    """Pass on, for jobfile, what another module found wrong with a section.

    Parameters
    ----------
    error : InputError
        Its message is ``[section] key, key, ..: found .., expected ..``.
    """
    keys, _, complaint = str(error).partition("] ")[2].partition(": ")
    return PydanticCustomError("refusal", "{complaint}", {"keys": (keys,), "complaint": complaint})


def complaint(error: InputError) -> PydanticCustomError:
    """Pass on, for jobfile, what is wrong with what a key names, in the words of an error."""
    return PydanticCustomError("refusal", "{complaint}", {"keys": (), "complaint": str(error)})


def within(place: tuple[str | int, ...], error: ValidationError) -> PydanticCustomError:
    """Return the first of the rules and refusals in an error, with the place they are met at.

    Parameters
    ----------
    place : tuple
        The way to it.
    error : ValidationError
        What was met.
    """
    first = error.errors()[0]
    context = first["ctx"] | {"keys": (*place, *first["ctx"]["keys"])}
    return PydanticCustomError(first["type"], first["msg"], context)


def unsuited(
    place: tuple[str | int, ...], error: ValidationError, found: object
) -> PydanticCustomError:
    """Say that one of the values at a place breaks a rule of another section.

    Parameters
    ----------
    place : tuple
        The way to the values.
    error : ValidationError
        The rule or refusal that was met.
    found : object
        The value.
    """
    context = error.errors()[0]["ctx"]
    if "complaint" in context:
        return PydanticCustomError("refusal", "{complaint}", context | {"keys": place})
    key = ".".join(map(str, context["keys"]))
    return rule(place, f"one that suits {key}: {context['expected']}", found)
