"""What can't be trained on here is told in one line, before anything is decoded."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from pneumoscope.core.errors import UsageError
from pneumoscope.training import fit
from pneumoscope.training.devices import check_devices
from pneumoscope.training.machine import choose_precision


@pytest.mark.parametrize(
    ("accelerator", "devices", "strategy"),
    [
        ("foo", "auto", "auto"),
        ("tpu", "auto", "auto"),
        ("cpu", 0, "auto"),
        ("cpu", "-3", "auto"),
        ("cpu", "x", "auto"),
        ("cpu", "auto", "foo"),
        ("cpu", "auto", "fsdp"),
    ],
)
def test_what_is_not_there_is_wrong_usage(
    accelerator: str, devices: int | str, strategy: str
) -> None:
    with pytest.raises(UsageError) as caught:
        check_devices(accelerator, devices, strategy)
    message = str(caught.value)
    assert "\n" not in message
    for word in (accelerator, str(devices), strategy, "Choose auto, cpu or gpu"):
        assert word in message


def test_more_processes_than_cores_are_wrong_usage(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    assert not check_devices("cpu", 2, "ddp")
    with pytest.raises(UsageError, match="--devices 3: .* this machine has 2"):
        check_devices("cpu", 3, "ddp")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_a_gpu_that_is_not_there_is_wrong_usage() -> None:
    with pytest.raises(UsageError, match="--accelerator gpu"):
        check_devices("gpu", "auto", "auto")


def test_a_cpu_is_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    assert not check_devices("cpu", 1, "auto")
    assert not check_devices("cpu", 2, "ddp")


def test_fit_refuses_before_it_makes_a_folder(tiny, dataset, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--accelerator foo"):
        fit(tiny, dataset, tmp_path / "run", accelerator="foo", show_progress=False)
    assert not (tmp_path / "run").exists()


def test_a_gpu_that_stands_idle_decides_no_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **_: True)
    monkeypatch.setattr("pneumoscope.training.machine._cpu_flags", lambda: {"avx2"})
    assert choose_precision("auto", is_on_gpu=False) == "fp32"
    assert choose_precision("auto", is_on_gpu=True) == "bf16"
    monkeypatch.setattr("pneumoscope.training.machine._cpu_flags", lambda: {"avx512_bf16"})
    monkeypatch.setattr("pneumoscope.training.machine._library_may_use_bf16", lambda: True)
    assert choose_precision("auto", is_on_gpu=False) == "bf16"
    assert choose_precision("fp32", is_on_gpu=True) == "fp32"


def test_bf16_instructions_that_the_library_is_told_to_leave_alone_decide_nothing() -> None:
    code = (
        "machine._cpu_flags = lambda: {'avx512_bf16'};"
        "print(machine.choose_precision('auto', is_on_gpu=False))"
    )
    assert _say(code, ONEDNN_MAX_CPU_ISA="AVX2") == "fp32"


def test_the_record_names_the_instructions_that_torch_was_told_to_use() -> None:
    code = "print(machine.describe_machine()['instructions'])"
    assert _say(code, ATEN_CPU_CAPABILITY="default").upper() == "DEFAULT"


def _say(code: str, **environment: str) -> str:
    """Run code in a process of its own: these variables are read once, when first asked for."""
    said = subprocess.run(
        [sys.executable, "-c", f"from pneumoscope.training import machine; {code}"],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return said.stdout.strip()
