# test: env ZONE=Mars/Olympus
project "shop" {
  id       = 1
  timezone = env("ZONE")
}
