"""Print the script that completes commands, recipes and stages in a shell."""

import click
from click.shell_completion import BashComplete, FishComplete, ShellComplete, ZshComplete

# Bash splits words at "=": the function joins key=value before it asks, and answers with what follows the "=".
_BASH = r"""
%(complete_func)s() {
    local IFS=$'\n' words=() joined=0 word type value
    for word in "${COMP_WORDS[@]:0:COMP_CWORD+1}"; do
        if ((joined)) || [[ $word == "=" && ${#words[@]} -gt 0 ]]; then
            words[-1]+=$word
            [[ $word == "=" ]] && joined=1 || joined=0
        else
            words+=("$word")
        fi
    done
    local answered=${words[-1]%%"${COMP_WORDS[COMP_CWORD]#=}"}
    while IFS=',' read -r type value; do
        case $type in
            dir) compopt -o dirnames ;;
            file) compopt -o default ;;
            plain) COMPREPLY+=("${value#"$answered"}") ;;
        esac
    done < <(env COMP_WORDS="${words[*]}" COMP_CWORD=$((${#words[@]} - 1)) %(complete_var)s=bash_complete "$1")
}
complete -o nosort -F %(complete_func)s %(prog_name)s
"""


class JoiningBashComplete(BashComplete):
    """Click's own completion for bash, but for its splitting of key=value."""

    source_template = _BASH


COMPLETIONS: dict[str, type[ShellComplete]] = {"bash": JoiningBashComplete, "zsh": ZshComplete, "fish": FishComplete}


@click.command()
@click.argument("shell", type=click.Choice(list(COMPLETIONS)))
@click.pass_context
def command(ctx: click.Context, shell: str) -> None:
    """Print the completion script of SHELL.

    \b
    bash:  echo 'eval "$(eos completion bash)"' >> ~/.bashrc
    zsh:   echo 'eval "$(eos completion zsh)"' >> ~/.zshrc
    fish:  eos completion fish > ~/.config/fish/completions/eos.fish
    """
    complete = COMPLETIONS[shell]
    click.echo(complete(ctx.find_root().command, {}, "eos", "_EOS_COMPLETE").source())
