project "shop" {
  id = 2195193
}
destination "s3" "lake" {
  bucket            = "acme"
  access_key_id     = "AKIA"
  secret_access_key = "hunter2hunter2"
}
