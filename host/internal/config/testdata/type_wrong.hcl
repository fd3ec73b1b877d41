project "shop" {
  id       = "twelve"
  token    = ["a"]
  timezone = { name = "UTC" }
}
source "files" "import" {
  project = "shop"
  path    = true
  follow  = "often"
}
