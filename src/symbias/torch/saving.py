"""Files of factors that a plain model would not read."""

import sys
import warnings
from types import FrameType

from symbias.torch.errors import NotLoadable


def warn_saved(name: str) -> None:
    """Warn with `NotLoadable` where a state dict is taken for a ``save_pretrained``.

    Whoever asks is found on the stack: there is nothing to install in a model, to copy with it, or
    to take off.
    """
    frame: FrameType | None = sys._getframe(1)
    level = 2
    while frame is not None and frame.f_code.co_name != "save_pretrained":
        frame, level = frame.f_back, level + 1
    if frame is None:
        return
    warnings.warn(
        f"save_pretrained saves the factors of {name!r}, which from_pretrained does not read: it "
        "starts such weights anew. Save the plain model: collapse it first, or a copy (plain = "
        "copy.deepcopy(model); symbias.torch.collapse(plain); plain.save_pretrained(folder))",
        NotLoadable,
        stacklevel=level + 1,
    )
