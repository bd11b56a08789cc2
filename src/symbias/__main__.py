"""``python -m symbias`` is the command ``symbias``."""

from symbias.cli import main

if __name__ == "__main__":
    main()
