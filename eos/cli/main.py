"""The ``eos`` command: what all sub-commands share, and how errors and interrupts end it."""

import sys
import traceback
from collections.abc import Sequence
from dataclasses import dataclass

import click

from eos.cli.allocator import keep_freed_memory
from eos.cli.group import CommandGroup, plugins_option
from eos.errors import EOSError, RunError
from eos.training.torchrun import begun_by_torchrun

WRONG = 2
INTERRUPTED = 130


@dataclass
class Settings:
    """What the command line says before the name of a sub-command."""

    debug: bool = False


def _set_debug(ctx: click.Context, param: click.Parameter, debug: bool) -> None:
    ctx.ensure_object(Settings).debug = debug


@click.group(
    cls=CommandGroup,
    params=[plugins_option()],
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.option(
    "--debug", is_flag=True, is_eager=True, expose_value=False, callback=_set_debug, help="Show where an error arose."
)
@click.version_option(package_name="eos-playground", prog_name="eos")
@click.pass_context
def group(ctx: click.Context) -> None:
    """Compose, train and compare linear-complexity sequence models.

    Every model here is three stages around one memory m of K × V numbers per head:

    \b
      expand       e_t i_tᵀ                          what is written into the memory
      oscillation  m_t = ψ(o_t, m_{t-1}) + e_t i_tᵀ   how the memory decays, turns or is erased
      shrink       y_t = m_tᵀ s_t                     how the memory is read

    A stage is one file in stages/, a model is one YAML file in recipes/model/. Any key of a recipe is changed
    by KEY=VALUE, and swapping a stage is such a key.

    \b
    Examples:
      eos list stages                                   every stage with its equation and source
      eos describe model=hgrn2                          its stages, sizes, costs and the engine's plan
      eos train model=hgrn2 expand=elu layers=4         train it with another expand stage
      eos train model=linear_attention oscillation=head_decay+rotation task.source=my.txt
      eos generate RUN "Once upon a time"               let a trained run write
    """
    if begun_by_torchrun() > 1 and ctx.invoked_subcommand != "train":
        raise RunError(f"eos {ctx.invoked_subcommand} is one process, and torchrun begins several: leave out torchrun")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line, from ``sys.argv`` where none is given, and return the exit status.

    0 is success, 2 anything that a user can mend (one clear line on stderr), 130 an interrupt.
    """
    settings = Settings()
    if arguments is None:  # the process is ours
        keep_freed_memory()
    try:
        status = group.main(arguments, prog_name="eos", standalone_mode=False, obj=settings)
    except click.exceptions.Abort:
        return INTERRUPTED
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (EOSError, OSError) as error:
        if settings.debug:
            traceback.print_exc()
        click.echo(f"eos: error: {error}", err=True)
        return WRONG
    return status if isinstance(status, int) else 0


if __name__ == "__main__":
    sys.exit(main())
