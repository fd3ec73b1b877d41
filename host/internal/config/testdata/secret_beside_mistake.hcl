project "shop" {
  id = 2195193
  token = "0123"
}
source "collector" "web" {
  project = "shop"
  listen = "127.0.0.1:8080"
  api_secret = "hunter2" + 1
  service_account "ci" { secret = "hunter2" }
}
