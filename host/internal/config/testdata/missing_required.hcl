project "shop" {
}
source "files" "import" {
}
destination "s3" "lake" {
}
pipeline "daily" {
  stream = "events"
}
