# test: env EMPTY=
host {
  data_dir = "data"
}

project "shop" {
  id    = 1
  token = "tok"
}

source "collector" "web" {
  project    = "shop"
  listen     = ""
  api_secret = env("EMPTY")
  geoip      = ""
  service_account "ci" {
    username = "ci"
    secret   = env("EMPTY")
  }
}
