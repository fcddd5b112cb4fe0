"""A task whose model writes pictures, pixel by pixel."""

from abc import abstractmethod

import numpy as np
from numpy.typing import NDArray

from eos.tasks.task import AbstractTask


class AbstractPictureTask(AbstractTask):
    """The token ids of a picture stand row by row, the channels of a pixel one after another.

    A row of a batch is led by the ids that :meth:`encode` makes of an empty prompt.
    """

    @property
    @abstractmethod
    def size(self) -> tuple[int, int, int]:
        """Height, width and channels of a picture, whose product is how many ids it is. After restore or prepare."""

    @abstractmethod
    def picture(self, ids: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Pixels [H,W,C] in 0 … 255 of the ids of a picture, without what leads it."""
