"""An update in words and a table: what came, what was kept and why, and how old and new weights stand."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tmmsrec.data.times import day
from tmmsrec.study.blocks import Cell, Table
from tmmsrec.study.going_on import COUNTED, NEW_WEIGHTS, OLD_WEIGHTS
from tmmsrec.study.keeping import MEANING, OLD
from tmmsrec.study.report import METRICS
from tmmsrec.study.spelling import signed


def came(counts: Mapping[str, Any]) -> list[str]:
    """What was merged, and what was left out."""
    events, users, items = counts["events"], counts["users"], counts["items"]
    span = f" ({day(counts['from'])} to {day(counts['to'])})" if counts["from"] is not None else ""
    said = [
        f"Events: {events['read']:,} read, {events['added']:,} added{span}, "
        f"{events['already_in_the_log']:,} were in the log already."
    ]
    for count, what in (
        (events["repeated_in_the_file"], "repeat another of the file and were dropped"),
        (events["of_items_lacking_modalities"], "are of items without what the bundle's data requires of each, and were dropped"),
        (
            events["older_than_the_newest_of_their_user"],
            "are older than the newest known of their user, and stand at their time",
        ),
        (events.get("in_the_future", 0), "lie in the future, and their users are answered as of then: are the times right?"),
    ):
        said += [f"  {count:,} {what}" + ("" if what.endswith("?") else ".")] if count else []
    short = users["short"]
    waiting = f" {short['all']:,} of all users have fewer than {short['fewer_than']} events:" if short["all"] else ""
    rest = " they get recommendations, but are not learned from nor asked about yet." if short["all"] else ""
    said.append(f"Users: {users['known']:,} known ones met something, {users['new']:,} are new.{waiting}{rest}")
    said.append(f"Items: {items['new']:,} are new, {items['new_without_text_or_picture']:,} of them without text or picture.")
    if items["completed"]:
        said.append(f"  {items['completed']:,} known items got a text or picture that they lacked.")
    if items["renewed"]:
        said.append(f"  {items['renewed']:,} known items have another text or number now.")
    if items["columns_left_out"]:
        said.append(f"  Columns that the bundle's items do not have were left out: {', '.join(items['columns_left_out'])}.")
    return said


def decision(told: Mapping[str, Any]) -> str:
    """What was kept and why."""
    kept = told["kept"]
    if kept == COUNTED:
        return f"Counted anew: {told['why']}."
    how = told["fit"]
    if kept == NEW_WEIGHTS:
        again = ", then trained again with the validation events" if how["refit"] else ""
        return f"Kept the NEW weights, of epoch {how['best_epoch'] + 1} of {how['epochs']}{again}: {told['why']}."
    return f"Kept the OLD weights, over the grown data: {told['why']}. New items stand by their text and picture alone."


def standing(told: Mapping[str, Any]) -> Table:
    """Old and new weights by group of test users, and the best floor."""
    rows: list[list[Cell | str]] = []
    rules = set()
    for group in (g for g in told["groups"] if g["users"]):
        rules |= {len(rows)} if rows else set()
        rows.append([f"{group['group']}: {group['users']:,}", "before", *_means(group["before"])])
        if "after" in group:
            shown = "after" if told["kept"] != OLD_WEIGHTS else "after (not kept)"
            rows.append(["", shown, *_means(group["after"])])
        rows.append(["", group["floor"]["name"], *_means(group["floor"])])
    return Table(["test users", "", *[f"{m} [95 %]" for m in METRICS]], rows, frozenset(rules), label="update")


def _means(group: Mapping[str, Any]) -> list[Cell]:
    return [Cell(f"{mean:.4f}", 0, f"[{lo:.3f}, {hi:.3f}]") for mean, lo, hi in (group[m] for m in METRICS)]


def remarks(told: Mapping[str, Any]) -> list[str]:
    """What the groups of the table are, and the paired differences."""
    said = ["Test targets: nothing was trained on them, nothing was decided by them. The third line of each is its best floor."]
    for group in told["groups"]:
        name = group["group"]
        line = f"  {name}: {MEANING[name]}" if group["users"] else f"  {name}: {MEANING[name]}; there is none"
        if "difference" in group:
            parts = [f"{m} {signed(d)} ({signed(lo)} to {signed(hi)})" for m, (d, lo, hi) in group["difference"].items()]
            line += f"; after - before: {', '.join(parts)}"
        said.append(f"{line}.")
    return [*said, *stated(told)]


def stated(told: Mapping[str, Any]) -> list[str]:
    """What the bundle said of itself before, which was asked of all its users; nothing where it said nothing."""
    was = told.get("stated")
    if not isinstance(was, Mapping) or not set(METRICS) <= set(was):
        return []
    numbers = ", ".join(f"{m} {was[m]:.4f}" for m in METRICS)
    again = next(g["users"] for g in told["groups"] if g["group"] == OLD)
    return [
        f"Before this update the bundle stated {numbers} on {told['stated_users']:,} users. {again:,} of its questions could be "
        "asked again: the other users have newer events, and their old test targets may be learned now."
    ]
