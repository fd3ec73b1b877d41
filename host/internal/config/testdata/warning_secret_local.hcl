locals {
  pw = "hunter2hunter2"
}
destination "s3" "lake" {
  bucket            = "acme"
  secret_access_key = local.pw
}
