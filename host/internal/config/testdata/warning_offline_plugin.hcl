# test: offline
project "shop" {
  id = 2195193
}
destination "gcs" "lake" {
  bucket      = "acme"
  credentials = file("none.json")
}
