project "shop" {
  id = 2195193
  token = "0123"
}
source "collector" "web" {
  listen = "8080"
  cors_origins = ["shop"]
  max_body = "0B"
  geo_ip = "x.mmdb"
  service_account "ci" {
  }
}
source "collector" "two" {
  project = "shop"
  listen = "0.0.0.0:8080"
  projects = ["shop", "sopp"]
  tls_cert = "cert.pem"
}
source "collector" "three" {
  project = "shop"
  listen = "0.0.0.0:8080"
}
source "mixpanel" "pull" {
  project       = "shop"
  region        = "de"
  data_timezone = "local"
  from_date     = "yesterday"
  export_limit {
    per_hour = 0
    per_day  = 3
  }
  export_limit {
  }
}
source "mixpanel" "both" {
  project    = "shop"
  api_secret = env("NONE")
  service_account {
    username = ""
    secret   = env("NONE")
  }
}
