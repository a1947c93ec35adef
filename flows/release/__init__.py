"""The stages of build-release: convert once, fan out, wait for the cells."""
