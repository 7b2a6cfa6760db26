"""One story, told without and with the proxy: real servers, the real runtime, a scripted model."""
