"""``python -m sunaug``."""

from sunaug.cli import main

main()
