project "shop" {
  id = 2195193
}
source "files" "import" {
  project = shop
  path = "./events/*.ndjson"
}
source "files" "other" {
  project = project.shop
  path = "./events/*.ndjson"
}
