"""The emulated accelerator: profiles, the hardware (a descriptor ring with engines) and, apart from it, its driver."""
