"""`python -m megastyle_cli`: what accelerate launch starts."""

from megastyle_cli.app import main

if __name__ == "__main__":
    main()
