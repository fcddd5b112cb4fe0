"""How the tests check types at each call: an int passes where a float is asked, as in Python's own typing rules."""

from beartype import BeartypeConf, beartype

checked = beartype(conf=BeartypeConf(is_pep484_tower=True))
