"""What tests need to run the real binaries with real servers."""
