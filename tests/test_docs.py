"""What the documents say of the code is so."""

from __future__ import annotations

import re
import sys
from dataclasses import replace
from pathlib import Path

import torch

from tests.conftest import small
from tmmsrec import values, zoo
from tmmsrec.data.split import LeaveOneOut
from tmmsrec.fit import fit
from tmmsrec.models.base import Method
from tmmsrec.nn import backbones
from tmmsrec.training import Training

ROOT = Path(__file__).parents[1]


def test_every_reference_of_the_paper_page_stands_where_it_says():
    text = (ROOT / "docs" / "paper.md").read_text(encoding="utf-8")
    references = re.findall(r"\[`([^`]+)`\]\(\.\./(src/[^)#]+)#L(\d+)\)", text)
    assert len(references) > 20
    for words, file, line in references:
        stands = (ROOT / file).read_text(encoding="utf-8").splitlines()[int(line) - 1]
        assert words in stands, f"docs/paper.md: {file}:{line} is {stands.strip()!r}, not {words!r}; run 'python docs/lines.py'"


def test_the_backbone_of_the_contributing_page_is_one_file(tmp_path, monkeypatch):
    """Written into the folder of backbones it is found, goes to JSON and back, keeps causality, and trains inside TMMSRec."""
    code = re.search(r"```python\n(.*?)```", (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"), re.DOTALL)[1]
    assert len([line for line in code.splitlines() if line.strip()]) <= 30
    (tmp_path / "average.py").write_text(code, encoding="utf-8")
    monkeypatch.setattr(backbones, "__path__", [*backbones.__path__, str(tmp_path)])
    values._dataclasses_near.cache_clear()
    try:
        average = values.from_json(backbones.Backbone, {"kind": "Average"})
        method = replace(zoo.TMMSREC, width=12, backbone=average)
        assert values.from_json(Method, values.to_json(method)) == method
        x = torch.randn(2, 5, 12)
        module = average.build(12, 50).eval()
        changed = x.clone()
        changed[:, 3:] += 1
        assert torch.equal(module(x)[:, :3], module(changed)[:, :3])
        data = small()
        parts = LeaveOneOut().cut(data.interactions)
        fitted = fit(method, data, train=parts.train, valid=parts.valid, training=Training(epochs=5, batch=8))
        assert fitted.history[-1]["loss"] < fitted.history[0]["loss"]
    finally:
        values._dataclasses_near.cache_clear()
        sys.modules.pop("tmmsrec.nn.backbones.average", None)
