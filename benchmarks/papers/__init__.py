"""Published results, run again with this library; see README.md beside this file."""
