project "shop" {
  id = 2195193
  token = "0123"
}
# test: env S=hunter2
source "collector" "web" {
  project = "shop"
  listen = "127.0.0.1:8080"
  api_secret = env("S")
  cors_origins = ["https://shop.example.com"]
  service_account "ci" {
    username = "ci"
    secret   = env("S")
  }
}
source "mixpanel" "pull" {
  project   = "shop"
  region    = "eu"
  from_date = "2026-01-01"
  lookback  = "5d"
  service_account {
    username = "pull"
    secret   = env("S")
  }
  export_limit {
    per_hour = 30
  }
}
source "kafka" "stream" {
  brokers = ["k1:9092"]
}
