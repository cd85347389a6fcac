"""Object stores: objects by path below a root, on disk, in S3 or in Google Cloud Storage."""
