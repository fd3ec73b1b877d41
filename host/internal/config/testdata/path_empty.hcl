# test: env DIR=
destination "localfs" "out" {
  path = env("DIR")
}
host {
  data_dir = ""
}
source "collector" "web" {
  project  = "shop"
  listen   = "127.0.0.1:8080"
  tls_cert = ""
  tls_key  = ""
}
project "shop" {
  id = 1
  token = "t"
}
