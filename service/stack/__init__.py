"""The whole service as child processes of one command, on one machine."""
