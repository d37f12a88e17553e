"""EBS and machine images: volumes, snapshots, and the AMIs that instances start from."""
