"""`python -m cl_analyze` is `cl-analyze`."""

from cl_analyze.cli.entry import main

if __name__ == "__main__":
    main()
