"""A Typer app with four empty commands: as fast as `--help` can be."""

from __future__ import annotations

import typer

app = typer.Typer()


@app.command()
def one() -> None: ...


@app.command()
def two() -> None: ...


@app.command()
def three() -> None: ...


@app.command()
def four() -> None: ...


if __name__ == "__main__":
    app()
