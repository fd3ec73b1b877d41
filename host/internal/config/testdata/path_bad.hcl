project "shop" {
  id = 2195193
}
source "files" "import" {
  project = "shop"
  path = "./events/[a-.ndjson"
}
source "files" "b" {
  project = "shop"
  path = "http://example.com/a.ndjson"
}
source "files" "c" {
  project = "shop"
  path = ""
}
source "files" "d" {
  project = "shop"
  path = "s3://"
}
