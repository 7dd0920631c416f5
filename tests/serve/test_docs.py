"""The commands of docs/serving.md work as they stand, on a shop whose ids are like the demo's."""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest
from fastapi.testclient import TestClient

from tests.shopkeeping import shop
from tmmsrec import serve as serving
from tmmsrec import zoo
from tmmsrec.data.catalog import Catalog
from tmmsrec.data.ids import Ids
from tmmsrec.recommender import Recommender
from tmmsrec.serve.app import application
from tmmsrec.serve.service import Service, Serving

TEXT = (Path(__file__).parents[2] / "docs" / "serving.md").read_text(encoding="utf-8")


def commands() -> list[str]:
    blocks = re.findall(r"```console\n(.*?)```", TEXT, re.DOTALL)
    return [one for block in blocks for one in re.split(r"^(?=curl)", block, flags=re.MULTILINE) if one.strip()]


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    folder = tmp_path_factory.mktemp("documented")
    dataset, encoders = shop()
    fields = dataset.catalog.fields.set_column(1, "brand", pa.array(["Nordlys", "Volta"] * 12))
    ids = Ids([f"A{n:04d}" for n in range(1, 25)], first=1, what="item")
    users = Ids([f"u{n:04d}" for n in range(60)], first=0, what="user")
    dataset = replace(dataset, catalog=Catalog(ids, fields, dataset.features), users=users)
    Recommender(zoo.MARKOV, zoo.MARKOV.build(dataset), dataset, {}, encoders).save(folder / "bundle")
    (folder / "pictures").mkdir()
    from tests.shopkeeping import picture

    (folder / "pictures" / "A0001.png").write_bytes(picture("red", 1))
    with TestClient(application(Service(Serving(folder / "bundle", images=str(folder / "pictures"))))) as made:
        yield made


def test_every_command_is_answered(client):
    found = commands()
    assert len(found) >= 13
    for command in found:
        words = shlex.split(command.replace("\\\n", " "))
        address = next(word for word in words if word.startswith("http://127.0.0.1:8000/"))
        body = words[words.index("-d") + 1] if "-d" in words else None
        path = address.removeprefix("http://127.0.0.1:8000")
        posted = body is not None or "POST" in words
        answer = client.post(path, json=json.loads(body) if body else None) if posted else client.get(path)
        assert answer.status_code == 200, (command, answer.text)


def test_the_options_and_meters_that_it_names_are_there(client):
    from tmmsrec.cli.serve import serve

    options = {name.replace("_", "-") for name in serve.__annotations__}
    assert set(re.findall(r"`--([a-z-]+)", TEXT)) - {"help"} <= options
    told = client.get("/metrics").text
    for name in re.findall(r"`((?:tmmsrec|process)_[a-z_]+)", TEXT):
        assert f"\n{name}" in told, name


def test_every_status_that_an_error_can_have_is_in_the_table():
    source = "\n".join(path.read_text(encoding="utf-8") for path in Path(serving.__file__).parent.rglob("*.py"))
    used = set(re.findall(r"(?:Refused|answer)\(\s*(\d{3}),", source))
    assert {"413", "500", "503"} <= used
    assert used <= set(re.findall(r"^\| (\d{3}) \|", TEXT, re.MULTILINE))
    least, most = re.search(r"Every error is a status of (\d{3}) or more|from (\d{3}) to (\d{3})", TEXT).group(1, 3)
    assert most is None
    assert min(used) >= least
