"""Which devices a training runs on, settled before anything is decoded."""

import os

import pytorch_lightning as pl
from lightning_fabric.utilities.exceptions import MisconfigurationException
from pytorch_lightning.accelerators import CPUAccelerator, CUDAAccelerator

from pneumoscope.core.errors import UsageError
from pneumoscope.training.quiet_lightning import quiet_lightning


def check_devices(accelerator: str, devices: int | str, strategy: str) -> bool:
    """Refuse what Lightning can't train on here; return True where training is on a CUDA GPU.

    Args:
        accelerator: As Lightning's Trainer has it: "cpu", "gpu", "auto".
        devices: How many, or "auto".
        strategy: How several devices share a step, such as "ddp".

    Raises: UsageError: there is no such accelerator, number of devices or strategy here.
    """
    try:
        # Lightning alone knows what fits together on this machine; a trainer that trains nothing
        # takes milliseconds to build.
        with quiet_lightning():
            trainer = pl.Trainer(
                accelerator=accelerator,
                devices=devices,
                strategy=strategy,
                logger=False,
                enable_checkpointing=False,
                enable_progress_bar=False,
                enable_model_summary=False,
            )
    except (ValueError, TypeError, MisconfigurationException, ImportError, RuntimeError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UsageError(
            f"--accelerator {accelerator} --devices {devices} --strategy {strategy}: can't be had "
            f"here ({reason}). Choose auto, cpu or gpu; auto or a number of devices from 1; auto "
            "or ddp."
        ) from error
    n_cores = os.cpu_count() or 1
    if isinstance(trainer.accelerator, CPUAccelerator) and trainer.num_devices > n_cores:
        # Lightning would start them all, a thousand too.
        raise UsageError(
            f"--devices {devices}: on the CPU each is a process that wants a core, and this "
            f"machine has {n_cores}. Give at most that many."
        )
    return isinstance(trainer.accelerator, CUDAAccelerator)
