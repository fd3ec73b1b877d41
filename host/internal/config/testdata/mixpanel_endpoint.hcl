# test: env S=hunter2
project "shop" {
  id = 1
}
source "mixpanel" "user" {
  project    = "shop"
  people     = false
  endpoint   = "https://someone:${env("S")}@gateway.example.com"
  api_secret = "x"
}
source "mixpanel" "query" {
  project    = "shop"
  people     = false
  endpoint   = "https://gateway.example.com/?key=1"
  api_secret = "x"
}
source "mixpanel" "slash" {
  project    = "shop"
  people     = false
  endpoint   = "https://gateway.example.com/"
  api_secret = "x"
}
