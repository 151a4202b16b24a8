# How large a page is: zram's, whatever the pages of the system are.

cpdef enum:
    PAGE_BYTES = 4096
