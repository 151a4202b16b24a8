"""`zramfs exec`: a mount namespace in which /dev/zramN and zram's folders of /sys are those of a zramfs."""
