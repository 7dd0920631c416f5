"""What a preparation counted, told."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from tmmsrec.data.dataset import Dataset
from tmmsrec.data.sources import Events
from tmmsrec.data.times import TimeColumn

if TYPE_CHECKING:
    from tmmsrec.data.prepare import Preparation


def report_of(raw: Events, time: TimeColumn, how: Preparation, counts: dict[str, int], dataset: Dataset) -> dict[str, Any]:
    """What was read, decided and dropped, as JSON holds it."""
    log = dataset.interactions
    neighbours = len(log) - log.users  # every user has an event
    same_item, same_moment = log.repeats()
    tied = sum(int((gaps == 0).sum()) for _, gaps in log.gaps())
    return {
        "source": {"events": raw.origin, **raw.notes},
        "preparation": {**asdict(how), "require": list(how.require)},  # as JSON reads it back
        "time": {"unit": time.unit, "said": time.said, "first": time.first, "last": time.last},
        "events": {
            "read": counts["read"],
            "of_items_lacking_modalities": counts["read"] - counts["after_items"],
            "duplicates_dropped": counts["after_items"] - counts["after_duplicates"],
            "of_rare_items": counts["of_rare_items"],
            "of_users_dropped": counts["after_duplicates"] - counts["kept"] - counts["of_rare_items"],
            "kept": counts["kept"],
        },
        "users": {"read": counts["users_read"], "dropped": counts["users_read"] - dataset.n_users, "kept": dataset.n_users},
        "duplicates": {
            "same_user_item_time": same_moment,
            "same_user_item": same_item,
            "done": "dropped (same user, item and time)" if how.duplicates == "drop" else "kept",
        },
        "ties": {
            "neighbours": neighbours,
            "equal": tied,
            "share": tied / max(1, neighbours),
            "order": "the file's" if how.ties == "file" else "by a hash (md5) of user and item",
        },
    }


def nothing_left(counts: dict[str, int], how: Preparation) -> str:
    """Why no event is left, and what to ask for instead."""
    said = f"no event is left of {counts['read']}: "
    if counts["after_items"] == 0:
        return said + f"every item lacks one of {', '.join(how.require)}; ask for less, or check the item table and the pictures"
    if how.min_item_events > 1:
        core = f"users with {how.min_events} events of items with {how.min_item_events}"
        return said + f"there is no core of {core}; ask for fewer (min_events, min_item_events)"
    return (
        said
        + f"none of {counts['users_after_items']} users has {how.min_events} events; ask for fewer (min_events, or --min-events)"
    )
