host {
  max_backfil = "10 years"
  api {
    listen  = "127.0.0.1:8090"
    tokn    = env("TOKEN")
    tls_cet = "./cert.pem"
    tls_key = "./key.pem"
  }
}
# test: env TOKEN=abc
project "shop" {
  id           = 1
  tken         = "tok"
  profiles_fom = "mixpanel"
}
project "pulled" {
  id            = 2
  profiles_from = "mixpanel"
}
source "collector" "web" {
  projct   = "shop"
  listen   = "0.0.0.0:8080"
  insecre  = true
}
source "collector" "app" {
  project  = "shop"
  listen   = "0.0.0.0:8081"
  tls_crt  = "./cert.pem"
  tls_key  = "./key.pem"
}
source "mixpanel" "pull" {
  projet = "pulled"
  service_acount {
    username = "u"
    secret   = env("TOKEN")
  }
}
source "mixpanel" "shop" {
  project    = "shop"
  people     = true
  api_secrt = env("TOKEN")
}
destination "localfs" "out" {
  path = "./out"
}
pipeline "hours" {
  project     = "shop"
  stream      = "people"
  destination = destination.localfs.out
  frequencey  = "hourly"
  at          = ":30"
}
pipeline "first" {
  project     = "shop"
  stream      = "events"
  destination = destination.localfs.out
  from_date   = "2020-06-01"
  to_dat      = "2020-06-30"
}
pipeline "second" {
  project     = "shop"
  stream      = "events"
  destination = destination.localfs.out
  from_date   = "2020-07-01"
}
pipeline "kind" {
  project     = "shop"
  straem      = "identity"
  destination = destination.localfs.out
}
