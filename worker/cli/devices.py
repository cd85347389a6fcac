"""Validation of device names, without loading the libraries that use the device."""

import ctypes
import re
from pathlib import Path
from typing import Annotated, Final

from pydantic import AfterValidator, Field

_NAME: Final = re.compile(r"auto|cpu|cuda(:\d+)?")
_FILES: Final = ("/dev/nvidiactl", "/dev/nvidia0", "/dev/kfd", "/dev/dxg")
"""Files that the drivers of real and virtual GPUs create."""
_DRIVERS: Final = ("libcuda.so.1", "libcuda.so", "nvcuda.dll")


def check_name(name: str) -> str:
    """Return `name` if it is a valid device name.

    :raises ValueError: if it is not.
    """
    if not _NAME.fullmatch(name):
        raise ValueError("expected auto, cpu, cuda or cuda:N")
    return name


def check_here(name: str) -> str:
    """Return `name` if this machine may have that device; loading checks the rest.

    :raises ValueError: if it is no device name, or a GPU and this machine shows no sign of one.
    """
    if check_name(name).startswith("cuda") and not has_sign_of_gpu():
        raise ValueError("this machine has no usable GPU; use cpu")
    return name


def has_sign_of_gpu() -> bool:
    """Whether this machine has a GPU driver."""
    if any(Path(file).exists() for file in _FILES):
        return True
    for driver in _DRIVERS:
        try:
            ctypes.CDLL(driver)
        except OSError:
            continue
        return True
    return False


_EXAMPLES = Field(examples=["auto", "cpu", "cuda"])

DeviceName = Annotated[str, AfterValidator(check_name), _EXAMPLES]
"""The name of a device of the machine that runs the model, which may be another one."""
DeviceHere = Annotated[str, AfterValidator(check_here), _EXAMPLES]
"""The name of a device of this machine."""
