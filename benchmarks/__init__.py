"""What is compared, with what, in one run on one machine: `python -m benchmarks --data FOLDER`."""
