destination "s3" "lake" {
  buckets = "acme"
  encryptoin = "aes"
}
