"""Python that kills a training at a chosen place, for tests: loaded with runpy."""

import torch

# Half of the checkpoint of that number is written.
WHILE_SAVING = """
import io, os, signal, torch
whole = torch.save
count = [0]
def save(content, file):
    count[0] += 1
    if count[0] == {number}:
        memory = io.BytesIO()
        whole(content, memory)
        file.write(memory.getvalue()[: memory.tell() // 2])
        file.flush()
        os.kill(os.getpid(), signal.SIGKILL)
    whole(content, file)
torch.save = save
"""

# A file of that name is written whole under its temporary name, and not renamed any more.
WHILE_WRITING = """
import os, signal
whole = os.replace
def replace(source, target):
    if os.path.basename(target) == {name!r}:
        os.kill(os.getpid(), signal.SIGKILL)
    whole(source, target)
os.replace = replace
"""


def assert_equal(first: object, second: object) -> None:
    if isinstance(first, torch.Tensor):
        assert isinstance(second, torch.Tensor)
        assert torch.equal(first, second)
    elif isinstance(first, dict):
        assert isinstance(second, dict)
        assert first.keys() == second.keys()
        for key, value in first.items():
            assert_equal(value, second[key])
    elif isinstance(first, list | tuple):
        assert isinstance(second, list | tuple)
        for one, other in zip(first, second, strict=True):
            assert_equal(one, other)
    else:
        assert first == second
