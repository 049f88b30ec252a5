"""`python -m annotator` is `hoi-annotate`."""

from annotator.cli import main

if __name__ == "__main__":
    main()
