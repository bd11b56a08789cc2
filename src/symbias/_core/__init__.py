"""What every room stands on: arrays, numbers, progress, and the one way to write a file."""
