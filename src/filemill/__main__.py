"""`python -m filemill`."""

from filemill.cli.main import main

if __name__ == "__main__":
    main()
