# Unpacks the archive on stdin under /mnt. Until a file has the mode it is to have, only root may read it.
umask 077
exec tar -C /mnt -xpf -
