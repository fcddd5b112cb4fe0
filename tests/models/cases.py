"""Which naive form belongs to which mixer of which recipe."""

from tests.models.base_cases import BASE
from tests.models.grid import GRID_CASES
from tests.models.variants import VARIANTS

CASES = BASE | VARIANTS | GRID_CASES
