"""`completion`: what a shell needs to complete this command."""

from __future__ import annotations

import sys
from typing import Final

import click
from click.shell_completion import get_completion_class

from registry.remote.failing import Exit

SHELLS: Final = ("bash", "zsh", "fish")
#: click looks at it when the shell asks.
VARIABLE: Final = "_REGISTRY_COMPLETE"


@click.command()
@click.argument("shell", type=click.Choice(SHELLS))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> int:
    """Write what makes a shell complete this command.

    \b
    bash: registry completion bash >> ~/.bashrc
    zsh:  registry completion zsh >> ~/.zshrc
    fish: registry completion fish > ~/.config/fish/completions/registry.fish
    """
    kind = get_completion_class(shell)
    assert kind is not None, "click knows these three"
    sys.stdout.write(kind(ctx.find_root().command, {}, "registry", VARIABLE).source() + "\n")
    return Exit.DONE
