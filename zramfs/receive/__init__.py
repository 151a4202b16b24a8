"""How bios arrive: receivers take requests from the kernel, submit what is a bio, and hand everything else over.

`request` turns a request into a bio and back into a reply, `handover` is what pyfuse3 reads from and writes to, and
`dev` and `uring` are the transports.
"""
