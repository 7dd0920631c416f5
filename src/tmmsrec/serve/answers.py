"""The shapes of answers, for the OpenAPI document.  ``telling`` encodes answers by hand; a test holds them to these shapes."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel

AnId = str | int


class Problem(BaseModel):
    """What was wrong, where, and what to do."""

    status: int
    where: str
    message: str


class ProblemAnswer(BaseModel):
    """An error."""

    error: Problem


class Scored(BaseModel):
    """An item with its score."""

    item: AnId
    score: float
    rank: int
    fields: dict[str, Any]
    picture: str | None
    shares: dict[str, float]


class Best(BaseModel):
    """The answer to a question."""

    items: list[Scored]
    basis: Literal["model", "popularity"]
    why: str | None
    bundle: str
    at: str
    read: int
    known_user: bool


class ManyBest(BaseModel):
    """The answers to many questions, in the order asked."""

    answers: list[Best]


class ScoredItems(BaseModel):
    """Items with their scores."""

    items: list[Scored]


class Item(BaseModel):
    """What is known of an item."""

    item: AnId
    fields: dict[str, Any]
    picture: str | None
    modalities: list[str]
    events: int


class Items(BaseModel):
    """A page of items."""

    total: int
    items: list[Item]


class User(BaseModel):
    """A user in a list."""

    user: AnId
    events: int
    last: str | None


class Users(BaseModel):
    """A page of users."""

    total: int
    users: list[User]


class Event(BaseModel):
    """An event of a history."""

    item: AnId
    at: str
    fields: dict[str, Any]
    picture: str | None


class UserHistory(BaseModel):
    """A user's newest events, the oldest of them first."""

    user: AnId
    events: int
    history: list[Event]


class Taken(BaseModel):
    """How an item was taken."""

    item: AnId
    new: bool
    modalities: list[str]
    reasons: dict[str, str]
    recommendable: bool


class TakenItems(BaseModel):
    """How items were taken."""

    items: list[Taken]


class TakenEvents(BaseModel):
    """How events were taken: those that were new, those that were there already, users not known before."""

    accepted: int
    known: int
    new_users: int


class AboutBundle(BaseModel):
    """What a bundle is.  ``events`` counts those that were sent, ``first`` and ``last`` are of the log that it was made with."""

    name: str
    path_name: str
    method: str
    kind: str
    modalities: list[str]
    scored_by: list[str]
    reads_time: bool
    reads_now: bool
    users: int
    items: int
    trained_items: int
    events: int
    first: str | None
    last: str | None
    about: dict[str, Any]


class About(BaseModel):
    """What is served."""

    bundles: list[AboutBundle]
    default: str
    pictures: bool
    fields: list[str]
    writable: bool
    version: str


class Reloaded(BaseModel):
    """Bundles that were opened anew, and how long that took."""

    reloaded: list[str]
    seconds: float


class Status(BaseModel):
    """Whether all is well."""

    status: str
