"""The kernels: what runs on the device. Nothing here knows torch, and nothing elsewhere imports triton."""
