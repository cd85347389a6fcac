"""Whether a device can be meant, told without loading what computes on it."""

import ctypes
import re
from pathlib import Path
from typing import Annotated, Final

from pydantic import AfterValidator, Field

_NAME: Final = re.compile(r"auto|cpu|cuda(:\d+)?")
_FILES: Final = ("/dev/nvidiactl", "/dev/nvidia0", "/dev/kfd", "/dev/dxg")
"""What a GPU's driver, or that of a machine that lends one, makes."""
_DRIVERS: Final = ("libcuda.so.1", "libcuda.so", "nvcuda.dll")


def check_name(name: str) -> str:
    """Return the name of a device.

    :raises ValueError: if it is none.
    """
    if not _NAME.fullmatch(name):
        raise ValueError("expected auto, cpu, cuda or cuda:N")
    return name


def check_here(name: str) -> str:
    """Return the name of a device that may be on this machine; the rest is found out at load.

    :raises ValueError: if it is none, or a GPU where there is no sign of one.
    """
    if check_name(name).startswith("cuda") and not has_sign_of_gpu():
        raise ValueError("no usable GPU is here; take cpu")
    return name


def has_sign_of_gpu() -> bool:
    """Whether this machine has a GPU's driver."""
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
"""A device of whatever machine runs the model."""
DeviceHere = Annotated[str, AfterValidator(check_here), _EXAMPLES]
"""A device of this machine."""
