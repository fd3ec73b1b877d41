# test: env PIN=hunter2
locals {
  pin = env("PIN")
}
project "shop" {
  id    = parseint(env("PIN"), 10)
  token = jsondecode(local.pin)
}
project "b" {
  id    = local.pin
  token = env(env("PIN"))
}
project "c" {
  id    = 7
  token = file(local.pin)
  identity = env("PIN")
}
