"""A whole report of data that tries to be more than data."""

from __future__ import annotations

from dataclasses import replace

import pyarrow as pa
import pytest

from tests.conftest import shrunk, small
from tmmsrec import zoo
from tmmsrec.data.catalog import Catalog
from tmmsrec.data.dataset import Dataset
from tmmsrec.data.split import LeaveOneOut
from tmmsrec.recommender import Recommender
from tmmsrec.study import report, samples
from tmmsrec.study.run import Job, Run, run
from tmmsrec.training import Training

EVIL = "<script>alert('x')</script> & \"quoted\" | piped"


@pytest.fixture(scope="session")
def evil_data() -> Dataset:
    """The small log, with a title that tries to be more than a title."""
    made = small(users=50)
    titles = pa.table({"title": [EVIL] * made.n_items})
    catalog = Catalog(made.catalog.ids, titles, made.features)
    return replace(made, catalog=catalog, name="<b>bold</b> data")


@pytest.fixture(scope="session")
def evil_runs(evil_data: Dataset, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Run]]:
    """Two floors with one run each, two trained methods with two seeds."""
    root = tmp_path_factory.mktemp("runs")
    floors = {"popularity": zoo.POPULARITY, "markov": zoo.MARKOV}
    trained = {"sasrec": shrunk(zoo.SASREC), "tmmsrec": shrunk(zoo.TMMSREC)}
    done = {name: [run(Job(method), evil_data, root)] for name, method in floors.items()}
    how = Training(epochs=2)
    return done | {name: [run(Job(m, how, seed=seed), evil_data, root) for seed in (0, 1)] for name, m in trained.items()}


@pytest.fixture(scope="session")
def whole(evil_data: Dataset, evil_runs: dict[str, list[Run]]) -> report.Report:
    """All that a report can hold."""
    first = evil_runs["tmmsrec"][0]
    held = Recommender(first.job.method, first.model(evil_data), evil_data)
    shown = samples.samples(held, LeaveOneOut().cut(evil_data.interactions).test, users=3, k=4)
    return report.Report(evil_data, evil_runs, "tmmsrec", {"HR@10": 0.9, "NDCG@10": 0.8}, shown, (f"a note {EVIL}",))
