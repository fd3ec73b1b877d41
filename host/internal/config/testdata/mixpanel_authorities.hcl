# test: env S=hunter2
project "collected" {
  id = 1
}
project "pulled" {
  id            = 2
  profiles_from = "mixpanel"
}
project "nobody" {
  id            = 3
  profiles_from = "mixpanel"
}
source "mixpanel" "asks" {
  project    = "collected"
  people     = true
  api_secret = env("S")
}
source "mixpanel" "one" {
  project    = "pulled"
  api_secret = env("S")
}
source "mixpanel" "two" {
  project = "pulled"
  service_account {
    username = "sa"
    secret   = env("S")
  }
}
source "mixpanel" "none" {
  project = "nobody"
  people  = false
  service_account {
    username = "sa"
    secret   = env("S")
  }
}
source "files" "import" {
  project = "pulled"
  path    = "./people/*"
  records = "people"
}
