"""``python -m grokfast`` is the command ``grokfast``."""

from grokfast.cli import main

if __name__ == "__main__":
    main()
