"""What every other folder may use: errors, small value types, safe writing of files."""
