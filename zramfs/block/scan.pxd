cdef enum:
    SLICE_STEPS = 8192          # 0.13 to 0.18 ms, and 0.5 where each page is chosen
