"""Objects by path below a root: on a disk, in S3, in Google Cloud Storage."""
