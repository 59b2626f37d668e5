"""`python -m ft_sync` is `ftsync`."""

from ft_sync.cli import main

main()
