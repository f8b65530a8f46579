from typing import Any

import pytest
import torch

import pneumoscope.training.machine as module
from pneumoscope.training.machine import note_start


def test_a_run_that_goes_on_elsewhere_names_each_place(monkeypatch: pytest.MonkeyPatch) -> None:
    facts: dict[str, Any] = {"seed": 3}
    note_start(facts, n_epochs=0)
    assert facts["machine"]["threads"] == torch.get_num_threads()
    assert facts["versions"]["torch"] == torch.__version__
    assert facts["seed"] == 3
    assert "resumed" not in facts
    first = facts["machine"]
    for processor, n_epochs in (("A", 4), ("B", 9)):
        monkeypatch.setattr(module, "_cpu_model", lambda processor=processor: processor)
        note_start(facts, n_epochs=n_epochs)
    assert facts["machine"] == first
    assert [start["after_epoch"] for start in facts["resumed"]] == [4, 9]
    assert [start["machine"]["processor"] for start in facts["resumed"]] == ["A", "B"]
    assert facts["resumed"][0]["versions"] == facts["versions"]


def test_a_run_with_no_epoch_on_disk_begins_where_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    facts: dict[str, Any] = {"machine": {"processor": "elsewhere"}, "versions": {"torch": "1.0"}}
    monkeypatch.setattr(module, "_cpu_model", lambda: "here")
    note_start(facts, n_epochs=0)
    assert facts["machine"]["processor"] == "here"
    assert facts["versions"]["torch"] == torch.__version__
    assert "resumed" not in facts
