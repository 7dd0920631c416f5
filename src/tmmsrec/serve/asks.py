"""What may be asked, as pydantic models with examples: the shapes of requests."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, JsonValue, PlainValidator, WithJsonSchema, model_validator

from tmmsrec.data.problems import DataProblem
from tmmsrec.recommender import Question
from tmmsrec.recommender.asking import seconds_of

MOST_ANSWERS, LONGEST_HISTORY, MOST_ASKS = 1_000, 10_000, 256
MOST_ITEMS, MOST_EVENTS, LONGEST_LIST = 1_000, 10_000, 20_000


def _id(value: Any) -> int | str:
    if isinstance(value, bool) or not isinstance(value, (int, str)):
        raise ValueError("must be an id: text or a whole number")
    return value


def _moment(value: Any) -> int:
    try:
        return seconds_of(value, "")
    except DataProblem as problem:
        raise ValueError(str(problem).removeprefix(": ")) from None


Id = Annotated[Any, PlainValidator(_id), WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "integer"}], "title": "Id"})]
Moment = Annotated[
    Any,
    PlainValidator(_moment),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string", "description": "ISO, UTC when it names no zone"},
                {"type": "number", "minimum": 0, "description": "seconds since 1970"},
            ],
            "title": "Moment",
        }
    ),
]
Count = Annotated[int, Field(strict=True, ge=1, le=MOST_ANSWERS)]
Flag = Annotated[bool, Field(strict=True)]
Name = Annotated[str, Field(strict=True, max_length=64)]
Where = Annotated[
    dict[str, Any],
    Field(
        description='field -> values that will do, or {"min": .., "max": ..}',
        examples=[{"brand": ["Nordlys"], "price": {"min": 10, "max": 50}}],
        max_length=50,
    ),
]
IdList = Annotated[list[Id], Field(max_length=LONGEST_LIST)]


class Shape(BaseModel):
    """A shape of a request; a field that it does not have is a mistake that is said."""

    model_config = ConfigDict(extra="forbid")


class Met(Shape):
    """One event of a history."""

    item: Id
    at: Moment


History = Annotated[list[Met], Field(max_length=LONGEST_HISTORY)]
_HISTORY: list[JsonValue] = [{"item": "A0007", "at": "2024-02-20"}, {"item": "A0042", "at": 1709251200}]


class _OneOf(Shape):
    """Either a user or a history."""

    user: Id | None = Field(None, description="Whose history is read; or give a history.")
    history: History | None = Field(None, description="Events in any order; an empty history is nobody's.")
    at: Moment | None = Field(None, description="The moment of the request; now if not given.")
    bundle: Name | None = Field(None, description="Which bundle answers; the main one if not given.")

    @model_validator(mode="after")
    def _exactly_one(self) -> _OneOf:
        if (self.user is None) == (self.history is None):
            raise ValueError("give either a user or a history")
        return self

    def pairs(self) -> list[tuple[Any, int]] | None:
        """The history as (item, seconds)."""
        return None if self.history is None else [(met.item, met.at) for met in self.history]


class Ask(_OneOf):
    """A question for the k best items."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"user": "u17", "k": 5},
                {"history": _HISTORY, "at": "2024-03-01T12:00:00Z", "k": 5, "exclude_seen": True, "where": {"brand": ["Nordlys"]}},
            ]
        }
    )

    k: Count = Field(10, description="How many items.")
    exclude_seen: Flag | None = Field(
        None, description="Leave out every item of the history; as the bundle was tested if not given."
    )
    allow: IdList | None = Field(None, description="Only these items; those that are not known are passed over, unless none is.")
    deny: IdList | None = Field(None, description="None of these items; those that are not known are passed over.")
    where: Where | None = None
    reasons: Flag = Field(True, description="Whether to say each modality's share of the score.")

    def question(self) -> Question:
        """What the library is asked."""
        return Question(self.user, self.pairs(), self.at, self.k, self.exclude_seen, self.allow, self.deny, self.where)


class Asks(Shape):
    """Many questions at once."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"requests": [{"user": "u17", "k": 3}, {"history": [], "k": 3}]}]})

    requests: Annotated[list[Ask], Field(max_length=MOST_ASKS)]


class AskSimilar(Shape):
    """A question for the items nearest to one."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"item": "A0042", "k": 5}]})

    item: Id
    k: Count = 10
    where: Where | None = None
    bundle: Name | None = None


class AskScore(_OneOf):
    """A question for the scores of some items."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"history": _HISTORY, "items": ["A0001", "A0002"]}]})

    items: Annotated[list[Id], Field(max_length=MOST_ANSWERS)]


class NewItem(BaseModel):
    """An item to add or to update: its id, any field of the catalogue, and its picture."""

    model_config = ConfigDict(extra="allow")

    id: Id
    picture: str | None = Field(None, description="The picture's file as base64 text.")


class NewItems(Shape):
    """Items to add or update, all or nothing."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"items": [{"id": "N0001", "title": "red wool coat", "brand": "Nordlys", "picture": None}]}]
        }
    )

    items: Annotated[list[NewItem], Field(max_length=MOST_ITEMS)]


class Happened(Shape):
    """Somebody met an item."""

    user: Id
    item: Id
    at: Moment


class NewEvents(Shape):
    """Events to take, all or nothing."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"events": [{"user": "u17", "item": "A0042", "at": "2024-03-01T12:00:00Z"}]}]}
    )

    events: Annotated[list[Happened], Field(max_length=MOST_EVENTS)]


class Reload(Shape):
    """Which bundle to open anew; all of them when none is named."""

    bundle: Name | None = None
