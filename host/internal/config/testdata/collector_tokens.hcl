project "shop" {
  id = 1
}
project "blog" {
  id = 2
  token = "0123"
}
project "docs" {
  id = 3
  token = "0123"
}
project "none" {
  id = 4
  token = ""
}
source "collector" "web" {
  projects = ["shop", "blog", "docs", "blog"]
  listen = "127.0.0.1:8080"
}
